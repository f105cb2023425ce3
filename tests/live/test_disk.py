from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import ROOT, needs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
@pytest.mark.live
def test_a_disk_that_is_full_or_read_only_fails_deploys_and_no_request(tmp_path: Path) -> None:
    alone = [needs("unshare"), *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
    try_it = [*alone, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if subprocess.run(try_it, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    command = [*alone, sys.executable, "-m", "tests.live.disk", str(tmp_path)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
