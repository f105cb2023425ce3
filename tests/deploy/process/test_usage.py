from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process.usage import read_usage

if TYPE_CHECKING:
    from tests.deploy.process.conftest import Launcher

CHILD = "import sys; held = b'x' * (30 << 20); print(len(held), flush=True); sys.stdin.read()"
BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
while time.process_time() < 0.2:
    pass
print("ready", flush=True)
time.sleep(1000)
"""


async def test_the_usage_of_a_generation_includes_its_children(launch: Launcher) -> None:
    app, other = launch(sys.executable, "-c", BUSY, CHILD), launch("sleep", "1000")
    await launch.line()
    usage = read_usage()
    assert usage[1].processes == 2
    assert usage[1].memory_bytes > 30 << 20
    assert 0.1 < usage[1].cpu_seconds < 60
    assert usage[2].processes == 1
    for process in (app, other):
        await process.end(signal=9, kill_after_seconds=10, stop_now=trio.Event())
    assert not {1, 2} & read_usage().keys()


async def test_a_daemon_is_counted_when_its_parent_has_ended(launch: Launcher) -> None:
    app = launch("sh", "-c", "setsid sleep 1000 & echo ready")
    await launch.line()
    assert await app.wait() == 0
    assert read_usage()[1].processes == 1
    await app.end(signal=9, kill_after_seconds=10, stop_now=trio.Event())
