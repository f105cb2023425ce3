"""Launching: a generation waits behind a gate until its record is on disk.

The gate is a process that waits for a line on its stdin, then becomes the app.  Where the line never comes
because the agent is gone, the app never runs.  There is no descriptor but the standard three that could be
left open.
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
from rainbowd.deploy.process.claims import LaunchMarks
from rainbowd.deploy.process.identity import ProcessIdentity, boot_id
from rainbowd.deploy.process.oom import restore
from rainbowd.deploy.process.process_tree import ProcessTree
from rainbowd.deploy.process.procfs import HOOK, MARK, read_entry
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
    """Whom a child becomes."""

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
    """Start ``argv`` behind its gate, in a session of its own, with the three standard descriptors alone.

    From the main thread only: an app that asks for a signal at its parent's end (``PR_SET_PDEATHSIG``) gets
    it when the thread that started it ends.

    Args:
        argv: see ``commands.render``.
        cwd: the resolved release.
        env: see ``commands.environment`` and ``commands.hook_environment``; what names it is taken from there, and
            its mark is added.
        address: where the app is to be reached; None for a hook.
        output_fd: its stdout and stderr.
        nofile_limit: its soft limit of open files; ours may have been raised.
        account: whose process it is to be; None for ours.

    Raises:
        DeployFailed: the directory is gone, or the system refuses.
    """
    gate, our_end = os.pipe()
    secret = secrets.token_hex(_MARK_BYTES)
    try:
        with registering:
            child = subprocess.Popen(
                _gated(argv, env, nofile_limit),
                cwd=cwd,
                env={**env, MARK: secret},
                stdin=gate,
                stdout=output_fd,
                stderr=output_fd,
                start_new_session=True,
                **_becoming(account),
            )
            child.returncode = 0  # Process reaps it, Popen must not
            restore(child.pid)
            cgroup = enter_new_cgroup(_cgroup_name(env), child.pid)
            identity = _identity(child.pid, cwd, env, address)
            marks = LaunchMarks(_becoming(account).get("user", os.geteuid()), secret, cgroup)
            return ProcessTree(identity, os.pidfd_open(child.pid), marks, gate=our_end)
    except OSError as error:
        os.close(our_end)
        gone = f"release: directory gone: {cwd}"
        raise DeployFailed(
            f"{_key(env)}: cannot start{_whom(error)}: {error.strerror}" if cwd.is_dir() else gone
        ) from None
    finally:
        os.close(gate)


def _becoming(account: Account | None) -> _Becoming:
    """What ``Popen`` makes of the child: its groups first, then its group, its user last (setreuid(2))."""
    if account is None or os.geteuid() != ROOT:  # who is not root can become nobody else, nor needs to
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": account.groups}


def _gated(argv: Sequence[str], env: Mapping[str, str], nofile_limit: int) -> list[str]:
    """The command that becomes ``argv`` once there is a line on its stdin, and then has /dev/null there.

    It sets its limit itself, as a child that is another user's lets nobody do it without CAP_SYS_RESOURCE
    (prlimit(2)), which root in a container has not.

    A shell does it in a millisecond, but some (dash) drop variables whose names are none to them, such as
    ``spring.profiles.active``; where there are any, Python does it.
    """
    soft = "unlimited" if nofile_limit == resource.RLIM_INFINITY else str(nofile_limit)
    if all(name.isascii() and name.isidentifier() for name in env):
        return [*_SHELL, soft, *argv]
    return [sys.executable, "-I", "-S", "-c", _PYTHON, soft, *argv]


def _whom(error: OSError) -> str:
    """A gate that the app's user may not run, such as a Python in root's home."""
    return f" {error.filename} as user" if isinstance(error, PermissionError) else ""


def _cgroup_name(env: Mapping[str, str]) -> str:
    """Return the name of a control group for the launch, as people read it in ``systemd-cgls``."""
    generation = f"generation-{env['RAINBOWD_GENERATION'] or 0}"
    return f"{generation}-{env[HOOK]}" if HOOK in env else generation


def _key(env: Mapping[str, str]) -> str:
    """The config's key for the command."""
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
        pidfile=os.devnull if HOOK in env else env["PIDFILE"],  # a hook's processes are not the generation's
    )
