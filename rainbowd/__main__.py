"""``python -m rainbowd`` is the ``rainbowd`` command."""

import sys

from rainbowd.cli import main

sys.exit(main())
