"""Attack an installed rainbowd as other accounts: ``python -m tests.security``, as root.

A wheel of this tree is installed into a temporary environment that other accounts can run. The tests of this directory
start their agents from it. For each attack, the table has what was tried, what is expected and what was seen. The exit
status is 1 if an attack succeeds. Arguments are passed to pytest, such as ``-k pidfile``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import INSTALLED_PYTHON, ROOT
from tests.security.attacks import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = Path("/usr/bin/python3")
"""A Python that every account can run, as one in root's home is not."""


@contextlib.contextmanager
def environment() -> Iterator[Path]:
    """Install a wheel of this tree for every account; its Python. It is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rainbowd-attacked-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        run(PYTHON, "-m", "venv", directory / "environment")
        python = directory / "environment" / "bin" / "python"
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", directory, ROOT)
        run(python, "-m", "pip", "install", "-q", f"{next(directory.glob('*.whl'))}[api]")
        yield python


def run(*command: object) -> None:
    """Run a command with an umask that lets other accounts read what it makes."""
    words = [str(word) for word in command]
    ended = subprocess.run(words, check=False, cwd="/", umask=0o022, capture_output=True, text=True)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(words)}: {ended.stderr}")


def main() -> int:
    """Return the exit status of the command."""
    if os.geteuid() != 0:
        sys.exit("cannot attack as other accounts: only root may become another user; run it with sudo")
    table = Table()
    with environment() as python:
        os.environ[INSTALLED_PYTHON] = str(python)
        os.environ.update(RACE_STARTS="40", RACE_DEPLOYS="10")
        where = subprocess.run(
            [python, "-P", "-c", "import rainbowd, sys; print(rainbowd.__file__, sys.version.split()[0])"],
            check=True,
            cwd="/",
            capture_output=True,
            text=True,
        )
        print("attacking", where.stdout.strip())
        options = ["--long", "-n0", "-q", "--no-header", "--no-summary", "--tb=no", "-p", "no:cacheprovider"]
        pytest.main([*options, str(Path(__file__).parent), *sys.argv[1:]], plugins=[table])
    print(f"\n{table.ok} ok, {table.failed} FAILED, {table.skipped} skipped")
    return 1 if table.failed or not table.ok else 0


if __name__ == "__main__":
    sys.exit(main())
