from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rainbowd.deploy.process.as_user import as_owner
from tests.accounts import account, needs_root
from tests.live.agent import ROOT, needs

LOOK = """
import subprocess, sys
from pathlib import Path
from rainbowd.deploy.process.procfs import read_environment
from rainbowd.deploy.process.as_user import as_owner

env = {"RAINBOWD_MARK": "1"}
with subprocess.Popen(["/bin/sleep", "60"], user=int(sys.argv[1]), group=int(sys.argv[2]), env=env) as process:
    print(read_environment(process.pid) == b"RAINBOWD_MARK=1\\0")
    with as_owner(process.pid):
        print(len(list(Path(f"/proc/{process.pid}/fd").iterdir())))
    try:
        print(Path(f"/proc/{process.pid}/environ").read_bytes())
    except PermissionError:
        print("hidden")
    process.kill()
"""


@needs_root
def test_root_sees_another_users_process_even_without_the_right_to_trace_it() -> None:
    contained = [needs("setpriv"), "--bounding-set", "-all,+setuid,+setgid,+kill", "--inh-caps", "-all"]
    user = account()
    told = subprocess.check_output(
        [*contained, sys.executable, "-c", LOOK, str(user.uid), str(user.gid)], cwd=ROOT, text=True, timeout=30
    )
    assert told.split() == ["True", "3", "hidden"]


@needs_root
def test_it_is_over_with_the_context_and_nothing_else_of_the_thread_changes(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.touch(0o600)
    user = account()
    with subprocess.Popen(["sleep", "60"], user=user.uid, group=user.gid) as process:
        with as_owner(process.pid):
            assert os.geteuid() == 0
            with pytest.raises(PermissionError):
                closed.read_bytes()
        assert closed.read_bytes() == b""
        process.kill()


def test_the_agents_own_process_needs_no_other_account() -> None:
    with as_owner(os.getpid()):
        assert Path("/proc/self/environ").read_bytes()


def test_a_process_that_is_gone_is_reported_as_such() -> None:
    with pytest.raises(FileNotFoundError), as_owner(2**22 + 1):
        pass
