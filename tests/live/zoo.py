"""Apps as they are out there: ``python zoo.py PORT``, by the ``zoo.json`` of its release, before it is the usual app.

The kinds that become live and serve are ``SERVING``; the others fail their check.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import app as usual  # type: ignore[import-not-found]
from zoo_processes import daemon, workers  # type: ignore[import-not-found]

SERVING: dict[str, dict[str, Any]] = {
    "good": {},
    "slow": {"boot_seconds": 1.5},
    "deaf": {"ignore_term": True},
    "workers": {"zoo": ["workers"]},
    "daemon": {"zoo": ["daemon"]},
    "orphans": {"zoo": ["orphans"]},
    "zombies": {"zoo": ["zombies"]},
    "rude": {"zoo": ["rude"]},
    "chatty": {"zoo": ["chatty"]},
    "mortal": {"zoo": ["mortal"]},
    "vanishing": {"zoo": ["vanishing"]},
}
FAILING: dict[str, dict[str, Any]] = {
    "exits": {"exit_status": 3, "output": ["cannot go on"]},
    "never": {"listen": False},
    "fails": {"up_status": 500},
}


def orphans() -> None:
    """Grandchildren that end soon, and of whom nobody but a subreaper hears."""

    def bear() -> None:
        while True:
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(0.1)
                os._exit(0)
            with contextlib.suppress(ChildProcessError):
                os.wait()
            time.sleep(0.3)

    threading.Thread(target=bear, daemon=True).start()


def zombies() -> None:
    """Children that have ended and of whom nobody ever asks."""
    for _ in range(3):
        if os.fork() == 0:
            os._exit(0)


def rude() -> None:
    """Ends kept connections without notice: after an answer, or as the next request comes in."""
    read_head, seen = usual.read_head, weakref.WeakSet[Any]()

    async def read(reader: Any) -> Any:
        is_kept = reader in seen
        seen.add(reader)
        if is_kept and random.random() < 0.2:
            raise ConnectionError
        head = await read_head(reader)
        if is_kept and random.random() < 0.2:
            raise ConnectionError
        return head

    usual.read_head = read


def chatty() -> None:
    """Megabytes, at once and then on and on."""

    def talk() -> None:
        line = b"x" * 199 + b"\n"
        os.write(1, line * 5000)
        while True:
            os.write(1, line * 100)
            time.sleep(0.02)

    threading.Thread(target=talk, daemon=True).start()


def mortal() -> None:
    """Dies when nobody expects it."""
    threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGKILL)).start()


def vanishing() -> None:
    """Takes its own release away, a moment later."""
    threading.Timer(2.0, shutil.rmtree, (Path.cwd(),)).start()


TRICKS = (daemon, workers, orphans, zombies, rude, chatty, mortal, vanishing)


def main() -> None:
    """Do the tricks, then serve."""
    tricks = json.loads(Path("app.json").read_text()).get("zoo", [])
    for trick in TRICKS:
        if trick.__name__ in tricks:
            trick()
    usual.main(sys.argv[1])


if __name__ == "__main__":
    main()
