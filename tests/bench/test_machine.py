"""What a server uses is read from /proc, of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from bench.machine import BenchError, Server, free_port, running, taken_share

if TYPE_CHECKING:
    from pathlib import Path

CORE = min(os.sched_getaffinity(0))
LISTEN = "import signal, socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"


def test_memory_and_time_are_of_the_process_itself() -> None:
    ours = Server(os.getpid(), 0)
    assert ours.memory_kib() > 1000
    assert ours.cpu_seconds() > 0


def test_threads_that_end_meanwhile_hide_no_memory() -> None:
    ours, is_over = Server(os.getpid(), 0), threading.Event()

    def begin_and_end_threads() -> None:
        while not is_over.is_set():
            threading.Thread(target=int).start()

    busy = threading.Thread(target=begin_and_end_threads)
    busy.start()
    try:
        assert min(ours.memory_kib() for _ in range(50)) > 1000
    finally:
        is_over.set()
        busy.join()


def test_children_count_as_their_parent() -> None:
    alone = Server(os.getpid(), 0).memory_kib()
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        both = Server(os.getpid(), 0).memory_kib()
        child.communicate(b"\n")
    assert both > alone + 1000


def test_a_server_runs_while_it_is_needed_and_ends_behind(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", LISTEN, str(port)]
    with running(command, port, cores=[CORE], log=tmp_path / "server.log") as server:
        assert os.sched_getaffinity(server.pid) == {CORE}
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_ends_is_shown_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such option')"]
    expected = pytest.raises(BenchError, match="server does not listen; it said: no such option")
    with expected, running(command, free_port(), cores=[CORE], log=tmp_path / "server.log"):
        pass


def test_a_share_is_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.SAMPLE_SECONDS", 0.05)
    assert 0 <= taken_share([CORE]) <= 1
