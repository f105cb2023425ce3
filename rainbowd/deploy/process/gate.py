"""Launching: a generation waits behind a gate until its record is on disk.

The gate is a process that waits for a line on its stdin, then becomes the app.  Where the line never comes
because the agent is gone, the app never runs.  There is no descriptor but the standard three that could be
left open.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

from rainbowd.deploy.process.identity import Identity, boot_id
from rainbowd.deploy.process.members import read_entry
from rainbowd.deploy.process.process import Process
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rainbowd.address import Address

_SHELL = ("/bin/sh", "-c", 'read -r _ || exit 1; exec "$@" </dev/null', "sh")

_PYTHON = """\
import os, signal, sys
os.read(0, 1) or sys.exit(1)
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
for ignored in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(ignored, signal.SIG_DFL)
with open("/proc/self/environ", "rb") as file:  # os.environ may have an LC_CTYPE more: PEP 538
    env = dict(pair.split(b"=", 1) for pair in file.read().split(b"\\0") if pair)
try:
    os.execvpe(sys.argv[1], sys.argv[1:], env)
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
"""


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    address: Address,
    output_fd: int,
    nofile_limit: int,
) -> Process:
    """Start ``argv`` behind its gate, in a session of its own, with the three standard descriptors alone.

    From the main thread only: an app that asks for a signal at its parent's end (``PR_SET_PDEATHSIG``) gets
    it when the thread that started it ends.

    Args:
        argv: see ``commands.render``.
        cwd: the resolved release.
        env: see ``commands.environment``; its marker and its ``PIDFILE`` become the process's.
        address: where the app is to be reached.
        output_fd: its stdout and stderr.
        nofile_limit: its soft limit of open files; ours may have been raised.

    Raises:
        DeployFailed: the directory is gone, or the system refuses.
    """
    gate, our_end = os.pipe()
    try:
        child = subprocess.Popen(
            _gated(argv, env),
            cwd=cwd,
            env=env,
            stdin=gate,
            stdout=output_fd,
            stderr=output_fd,
            start_new_session=True,
        )
    except OSError as error:
        os.close(our_end)
        gone = f"release: directory gone: {cwd}"
        raise DeployFailed(f"run: cannot start: {error.strerror}" if cwd.is_dir() else gone) from None
    finally:
        os.close(gate)
    child.returncode = 0  # Process reaps it, Popen must not
    _, hard_limit = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (nofile_limit, hard_limit))
    return Process(_identity(child.pid, cwd, env, address), os.pidfd_open(child.pid), gate=our_end)


def _gated(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The command that becomes ``argv`` once there is a line on its stdin, and then has /dev/null there.

    A shell does it in a millisecond, but some (dash) drop variables whose names are none to them, such as
    ``spring.profiles.active``; where there are any, Python does it.
    """
    if all(name.isascii() and name.isidentifier() for name in env):
        return [*_SHELL, *argv]
    return [sys.executable, "-I", "-S", "-c", _PYTHON, *argv]


def _identity(pid: int, cwd: Path, env: Mapping[str, str], address: Address) -> Identity:
    entry = read_entry(pid)
    assert entry is not None, "a child has its entry until it is reaped"
    return Identity(
        pid=pid,
        pgid=pid,
        start_time=entry.start_time,
        boot_id=boot_id(),
        state_dir=env["RAINBOWD_STATE_DIR"],
        generation=int(env["RAINBOWD_GENERATION"]),
        release=str(cwd),
        address=str(address),
        pidfile=env["PIDFILE"],
    )
