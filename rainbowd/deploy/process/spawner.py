"""Starting apps and hooks: each waits at a gate until its record is on disk.

The gate is a process that waits for a line on its stdin and then becomes the app (execve(2)).  If the agent ends before
it writes the line, the app never runs.  The app inherits no descriptors except the standard three.
"""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, TypedDict

from rainbowd.config.account import ROOT
from rainbowd.deploy.process.cgroups import enter_new_cgroup
from rainbowd.deploy.process.launches import LaunchMarks
from rainbowd.deploy.process.oom import restore
from rainbowd.deploy.process.process_identity import ProcessIdentity, boot_id
from rainbowd.deploy.process.process_tree import ProcessTree
from rainbowd.deploy.process.procfs import HOOK, INSTANCE, MARK, PROCESS, read_entry
from rainbowd.deploy.process.reaper import registering
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rainbowd.address import Address
    from rainbowd.config import Account

_SHELL = ("/bin/sh", "-c", 'read -r _ || exit 1; ulimit -S -n "$1"; shift; exec "$@" </dev/null', "sh")

_PYTHON = """\
import os, resource, signal, sys
os.read(0, 1) or sys.exit(1)
soft, program, *arguments = sys.argv[1:]
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.RLIM_INFINITY if soft == "unlimited" else int(soft), hard))
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
for ignored in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(ignored, signal.SIG_DFL)
with open("/proc/self/environ", "rb") as file:  # os.environ may have an LC_CTYPE more: PEP 538
    env = dict(pair.split(b"=", 1) for pair in file.read().split(b"\\0") if pair)
try:
    os.execvpe(program, [program, *arguments], env)
except OSError as error:
    sys.exit(f"{program}: {error.strerror}")
"""


_MARK_BYTES = 16


class _Becoming(TypedDict, total=False):
    """The arguments of ``Popen`` for the account of a child."""

    user: int
    group: int
    extra_groups: Sequence[int]


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    address: Address | None,
    output_fd: int,
    nofile_limit: int,
    account: Account | None = None,
) -> ProcessTree:
    """Start ``argv`` with a gate, in a session and, if delegated, a control group of its own.

    Call it in the main thread: a signal that an app requests for its parent's end (``PR_SET_PDEATHSIG``) is sent when
    the thread that started it ends.

    Args:
        argv: see ``command_line.render``.
        cwd: the resolved directory of the release.
        env: see ``environment`` and ``hook_environment`` of ``command_line``; the mark is added.
        address: the address at which the app will listen; None for a hook.
        output_fd: descriptor for its stdout and stderr.
        nofile_limit: its soft limit of open files; the agent's may be higher.
        account: the account that it is started as; None for the agent's.

    Returns:
        The process at its gate; ``open_gate`` lets it run.

    Raises:
        DeployFailed: the directory does not exist, or the kernel refuses.
    """
    gate, gate_opener = os.pipe()
    secret, becoming = secrets.token_hex(_MARK_BYTES), _becoming(account)
    try:
        with registering:
            pid = _start(_gated(argv, env, nofile_limit), cwd, {**env, MARK: secret}, (gate, output_fd), becoming)
            marks = LaunchMarks(becoming.get("user", os.geteuid()), secret, enter_new_cgroup(_cgroup_name(env), pid))
            return ProcessTree(_identity(pid, cwd, env, address), os.pidfd_open(pid), marks, gate=gate_opener)
    except OSError as error:
        os.close(gate_opener)
        raise DeployFailed(_failure(error, cwd, env)) from None


def _start(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], descriptors: tuple[int, int], becoming: _Becoming
) -> int:
    """Start a process in a session of its own and return its pid; close the first descriptor, which is its stdin."""
    stdin, output = descriptors
    try:
        child = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=stdin, stdout=output, stderr=output, start_new_session=True, **becoming
        )
    finally:
        os.close(stdin)
    child.returncode = 0  # ProcessTree reaps it, Popen must not
    restore(child.pid)
    return child.pid


def _failure(error: OSError, cwd: Path, env: Mapping[str, str]) -> str:
    """Return why a command could not be started."""
    if not cwd.is_dir():
        return f"release: directory gone: {cwd}"
    return f"{_key(env)}: cannot start{_whom(error)}: {error.strerror}"


def _becoming(account: Account | None) -> _Becoming:
    """Return the arguments of ``Popen`` for an account; empty if the child keeps the agent's."""
    if account is None or os.geteuid() != ROOT:  # only root can start a process of another account
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": account.groups}


def _gated(argv: Sequence[str], env: Mapping[str, str], nofile_limit: int) -> list[str]:
    """Return the command of the gate, which becomes ``argv`` after a line on its stdin, with /dev/null as stdin.

    The gate sets the limit of open files itself: to set that of another account's process takes CAP_SYS_RESOURCE
    (prlimit(2)), which root in a container does not have.

    A shell starts in a millisecond, but some shells (dash) drop variables with names such as
    ``spring.profiles.active``.  If there are any, the gate is a Python program.
    """
    soft = "unlimited" if nofile_limit == resource.RLIM_INFINITY else str(nofile_limit)
    if all(name.isascii() and name.isidentifier() for name in env):
        return [*_SHELL, soft, *argv]
    return [sys.executable, "-I", "-S", "-c", _PYTHON, soft, *argv]


def _whom(error: OSError) -> str:
    """Return which program the account may not run, such as a Python in root's home, if that is the error."""
    return f" {error.filename} as user" if isinstance(error, PermissionError) else ""


def _cgroup_name(env: Mapping[str, str]) -> str:
    """Return the name of a control group for the launch, as people read it in ``systemd-cgls``."""
    generation = f"generation-{env['RAINBOWD_GENERATION'] or 0}"
    if PROCESS in env:
        return f"{generation}-{env[PROCESS]}.{env[INSTANCE]}"
    return f"{generation}-{env[HOOK]}" if HOOK in env else generation


def _key(env: Mapping[str, str]) -> str:
    """Return the config key of the command."""
    if PROCESS in env:
        return f"processes.{env[PROCESS]}.run"
    return f"hooks.{env[HOOK]}" if HOOK in env else "run"


def _identity(pid: int, cwd: Path, env: Mapping[str, str], address: Address | None) -> ProcessIdentity:
    entry = read_entry(pid)
    assert entry is not None, "a child has its entry until it is reaped"
    return ProcessIdentity(
        pid=pid,
        pgid=pid,
        start_time=entry.start_time,
        boot_id=boot_id(),
        state_dir=env["RAINBOWD_STATE_DIR"],
        generation=int(env["RAINBOWD_GENERATION"] or 0),
        release=str(cwd),
        address=str(address or ""),
        pidfile=os.devnull
        if HOOK in env
        else env["PIDFILE"],  # the processes of a hook do not belong to the generation
    )
