"""Deploys: which release is to be live, and what is done about it.

Here it is decided: ``watch`` sees the files change (``sight``), the ``supervisor`` makes one ``attempt`` at a time of
it, ``succession`` knows what is live, stands by, or is launched again, and ``verdicts`` are remembered, then told.

- ``generation``: one launch's life, from its check to its last process.
- ``seam``: all that the deciding and the lives do to the world.
- ``machine``: the world, behind the seam; tests put another in its place.
- ``process``: an app's processes, as the machine starts and ends them.
"""
