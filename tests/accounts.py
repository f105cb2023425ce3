"""Another user, for tests that are run by root; where they are not, such tests are skipped."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.config import Account, find_account
from rainbowd.deploy.host.programs import check_executable
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "nobody"
STRANGER = "games"
"""A third account, which has nothing to do with the app."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def account(name: str = USER) -> Account:
    """The other user."""
    found = find_account(name, None)
    assert found is not None
    return found


def becoming(name: str) -> dict[str, Any]:
    """What ``subprocess.Popen`` makes of a child of this account."""
    one = account(name)
    return {"user": one.uid, "group": one.gid, "extra_groups": list(one.groups)}


def uid() -> int:
    """The other user's number."""
    return pwd.getpwnam(USER).pw_uid


def python() -> str:
    """A Python that the other user may run, which one in root's home is not."""
    for path in (sys.executable, shutil.which("python3", path=os.defpath)):
        try:
            check_executable(Path(path or "/nowhere"), account(), "closed")
        except DeployFailed:
            continue
        if path is not None:
            return path
    pytest.skip(f"there is no Python that {USER} may run")


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user may enter, as ``tmp_path`` is not."""
    with tempfile.TemporaryDirectory(prefix="rainbowd-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory).resolve()
