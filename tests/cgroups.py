"""A control group as systemd delegates it, for tests that root runs on a kernel with the unified hierarchy."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMPTY_SECONDS = 10.0


@contextlib.contextmanager
def delegated_cgroup(directory: Path) -> Iterator[Path]:
    """Yield a group with the mark of systemd; its processes are killed at the end.

    Args:
        directory: in which the hierarchy can be mounted.
    """
    mount = directory / "unified hierarchy"
    mount.mkdir()
    command = ["mount", "-t", "cgroup2", "none", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount the unified hierarchy of control groups")
    try:
        cgroup = mount / f"rainbowd-test-{os.getpid()}"
        cgroup.mkdir()
        os.setxattr(cgroup, "trusted.delegate", b"1")
        try:
            yield cgroup
        finally:
            _destroy(cgroup)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@contextlib.contextmanager
def inside(cgroup: Path) -> Iterator[None]:
    """Have this process, and those that it starts meanwhile, in a group."""
    mount = cgroup.parent
    line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    before = mount / line[4:]
    _move(os.getpid(), cgroup)
    try:
        yield
    finally:
        _move(os.getpid(), before)


def groups_in(cgroup: Path) -> list[str]:
    """The names of the groups below one."""
    return sorted(entry.name for entry in cgroup.iterdir() if entry.is_dir())


def _move(pid: int, cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(pid))


def _destroy(cgroup: Path) -> None:
    (cgroup / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + _EMPTY_SECONDS
    while "populated 1" in (cgroup / "cgroup.events").read_text():
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.01)
    for directory, _, _ in os.walk(cgroup, topdown=False):
        Path(directory).rmdir()
