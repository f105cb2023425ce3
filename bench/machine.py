"""The machine underneath: processes that are pinned to a core and end with us, and what they have used."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOST = "127.0.0.1"
LISTEN_SECONDS = 20.0
END_SECONDS = 30.0
SAMPLE_SECONDS = 2.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something that has to be there is not, or a measurement cannot be believed; says which."""


@dataclass(frozen=True)
class Server:
    """A running server, of one or more processes, that listens on ``port``."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """What all its processes have used so far, in ticks of (mostly) 10 ms."""
        return sum(_cpu_ticks(pid) for pid in _family(self.pid)) / _TICKS_A_SECOND

    def memory_kib(self) -> float:
        """The proportional set size of all its processes; what the kernel keeps for its sockets is not in it."""
        return sum(_pss_kib(pid) for pid in _family(self.pid))


def chosen_cores() -> tuple[int, int]:
    """The core of the proxy under test, and the core of everything else."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise BenchError("there is one core only; the proxy under test and the load need one each")
    return mine[0], mine[1]


def taken_share(chosen: Sequence[int]) -> float:
    """How much of these cores others take now, 0 to 1, our host's other guests among them: proc(5), ``stat``."""
    busy, whole = _core_ticks(chosen)
    time.sleep(SAMPLE_SECONDS)
    busy_then, whole_then = _core_ticks(chosen)
    return (busy_then - busy) / max(whole_then - whole, 1)


def raise_file_limit() -> int:
    """Let this process, and what it starts, hold as many descriptors as it may; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def find(program: str) -> str | None:
    """The path of a program, also where only root's PATH leads."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.create_server((HOST, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, *, cores: Sequence[int], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server, from when it listens until it is asked to exit, and killed if it does not.

    Args:
        cores: what all its threads and processes are pinned to.
        log: the file for all it prints.
        environment: in addition to our own.

    Raises:
        BenchError: it ended or did not listen in time; with the end of what it printed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cores)), *command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_listening(process, port, log)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port)):
            return
        time.sleep(0.02)
    said = log.read_text(errors="replace")[-2000:].strip()
    raise BenchError(f"{log.stem} does not listen; it said: {said or 'nothing'}")


def _family(pid: int) -> list[int]:
    """A process and all its descendants that live."""
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # this thread has ended
                children += map(int, _read(task / "children").split())
    except FileNotFoundError:
        return []
    return [pid, *(each for child in children for each in _family(child))]


def _cpu_ticks(pid: int) -> int:
    """Of user and system, of all threads: proc(5), ``stat``, fields 14 and 15."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _core_ticks(chosen: Sequence[int]) -> tuple[int, int]:
    """Of these cores: what was used or stolen, and all, since the start of the machine."""
    busy = whole = 0
    names = {f"cpu{core}" for core in chosen}
    for name, *fields in (line.split() for line in _read(Path("/proc/stat")).splitlines()):
        if name in names:
            user, nice, system, idle, wait, *rest = (int(each) for each in fields[:8])
            busy += user + nice + system + sum(rest)
            whole += user + nice + system + idle + wait + sum(rest)
    return busy, whole


def _pss_kib(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended: nothing is left of its memory
        for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace")
