"""The end of processes on a machine that is slow to search for them."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.deploy.process import ending, read_entry

if TYPE_CHECKING:
    import pytest


async def test_one_that_ended_during_the_last_search_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "KILL_SECONDS", 2.0)
    with subprocess.Popen(["sleep", "1000"]) as process:  # noqa: ASYNC220 - it only starts
        entry = read_entry(process.pid)
        assert entry is not None
        found: Any = SimpleNamespace(live=[entry], foreign=[])

        async def refresh() -> Any:
            now = read_entry(process.pid)
            if now is None or now.ended:
                await trio.sleep_forever()
            return found

        tree: Any = SimpleNamespace(
            pid=process.pid,
            launch=SimpleNamespace(covers=lambda _: True),
            refresh=refresh,
            find_main=lambda _: None,
        )
        stop_now = trio.Event()
        stop_now.set()
        try:
            assert await ending.end_processes(tree, 0, patience_seconds=0.0, stop_now=stop_now) == (True, [])
        finally:
            process.kill()
