from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from rainbowd.deploy.process.usage import Usage, read_usage

if TYPE_CHECKING:
    from pathlib import Path

CHILD = "import sys; held = b'x' * (30 << 20); print(len(held), flush=True); sys.stdin.read()"
BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
while time.process_time() < 0.2:
    pass
print("ready", flush=True)
sys.stdin.read()
child.communicate()
"""


def test_a_generation_is_told_with_its_children(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdout.readline()
        usage = read_usage({7: parent.pid}, tmp_path)[7]
        assert usage.processes == 2
        assert usage.memory_bytes > 30 << 20
        assert 0.1 < usage.cpu_seconds < 60
        parent.stdin.close()


def test_a_daemon_is_known_by_its_mark(tmp_path: Path) -> None:
    env = {**os.environ, "RAINBOWD_STATE_DIR": str(tmp_path), "RAINBOWD_GENERATION": "7"}
    with subprocess.Popen(["sleep", "100"], env=env, start_new_session=True) as daemon:
        gone = subprocess.Popen(["true"])
        gone.wait()
        deadline = time.monotonic() + 10
        while not (found := read_usage({7: gone.pid, 8: gone.pid}, tmp_path))[7].processes:
            assert time.monotonic() < deadline
        assert found[7].processes == 1
        assert found[8] == Usage()
        daemon.kill()
