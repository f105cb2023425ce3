"""The command that a generation is launched with, and the environment it runs in."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACEHOLDER = re.compile(r"\{(port|socket|pidfile|release|generation)\}")
_SHELL_PLACEHOLDER = re.compile(r"(?<!\$)" + _PLACEHOLDER.pattern)  # ${port} is the shell's own

_SYSTEMD = re.compile(r"NOTIFY_SOCKET|JOURNAL_STREAM|WATCHDOG_.*|LISTEN_.*")
"""What systemd tells the agent alone: an app that believed it would answer in the agent's name."""

_SHEBANG_BYTES = 256  # more than execve(2) reads


def render(
    run: str | Sequence[str],
    *,
    port: int | None,
    socket: Path | None,
    pidfile: Path,
    release: Path,
    generation: int,
) -> list[str]:
    """The argument vector of ``run``.

    Args:
        run: a list, executed as it is; or a string for ``sh -c``, in which placeholders are replaced
            shell-quoted
            and which has the port as ``$1`` (empty with a socket) and the pidfile as ``$2``.
        port: for a generation reached over TCP, else None.
        socket: for a generation reached over a Unix socket, else None.
        pidfile: where a daemon may say which process it is.
        release: the resolved directory.
        generation: its number.
    """
    values = {
        "port": "" if port is None else str(port),
        "socket": "" if socket is None else str(socket),
        "pidfile": str(pidfile),
        "release": str(release),
        "generation": str(generation),
    }
    if isinstance(run, str):
        command = _SHELL_PLACEHOLDER.sub(lambda found: shlex.quote(values[found[1]]), run)
        return ["sh", "-c", command, "sh", values["port"], values["pidfile"]]
    return [_PLACEHOLDER.sub(lambda found: values[found[1]], element) for element in run]


def environment(
    base: Mapping[str, str],
    *,
    config_env: Mapping[str, str],
    env_file_env: Mapping[str, str],
    port: int | None,
    socket: Path | None,
    pidfile: Path,
    release: Path,
    generation: int,
    state_dir: Path,
) -> dict[str, str]:
    """The environment of a generation's processes.

    Later wins: the agent's own, the config's, the env file's, ours.

    Args:
        base: the agent's environment; its ``PORT`` and ``SOCKET`` are its own, and what systemd told it too.
        config_env: ``env`` of the config.
        env_file_env: the variables of ``env_file``.
        port: for a generation reached over TCP, else None.
        socket: for a generation reached over a Unix socket, else None.
        pidfile: where a daemon may say which process it is.
        release: the resolved directory.
        generation: its number.
        state_dir: absolute; with the generation it marks a process as ours.
    """
    inherited = {
        name: value for name, value in base.items() if name not in {"PORT", "SOCKET"} and not _SYSTEMD.fullmatch(name)
    }
    reached = {"PORT": str(port)} if socket is None else {"SOCKET": str(socket)}
    ours = {
        "PIDFILE": str(pidfile),
        "RAINBOWD_GENERATION": str(generation),
        "RAINBOWD_RELEASE": str(release),
        "RAINBOWD_STATE_DIR": str(state_dir),
    }
    return {**inherited, **config_env, **env_file_env, **reached, **ours}


def find_command(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Path:
    """Find the program of ``argv`` before anything is started, by the rules of execvp(3).

    Args:
        argv: its first element is looked up.
        env: with the ``PATH`` that counts; relative entries start at ``cwd``.
        cwd: the resolved release.

    Raises:
        DeployFailed: the directory is gone, or the program is not there, not executable, or a script whose
            interpreter is not there.
    """
    if not cwd.is_dir():
        raise DeployFailed(f"release: directory gone: {cwd}")
    name = argv[0]
    directories = [""] if "/" in name else env.get("PATH", os.defpath).split(":")
    files = [file for directory in directories if os.access(file := cwd / directory / name, os.F_OK)]
    for file in files:
        if file.is_file() and os.access(file, os.X_OK):
            _find_interpreter(file, cwd)
            return file
    if files:
        what = "a directory" if files[0].is_dir() else f"chmod +x {files[0]}"
        raise DeployFailed(f"run: not executable: {name} ({what})")
    raise DeployFailed(f"run: command not found: {name}")


def _find_interpreter(script: Path, cwd: Path) -> None:
    """Refuse a script whose first line names what is not there, as after a virtual environment was moved."""
    try:
        with script.open("rb") as file:
            start = file.read(_SHEBANG_BYTES)
    except OSError:  # executable but not readable: the kernel can tell, we cannot
        return
    words = start.removeprefix(b"#!").split(b"\n", 1)[0].split()
    if not start.startswith(b"#!") or not words:
        return
    interpreter = Path(os.fsdecode(words[0]))
    if not (cwd / interpreter).exists():
        raise DeployFailed(f"run: command not found: {interpreter} (the interpreter of {script})")
