"""Finding the programs that a command would execute, before it is started.

A script runs its interpreter, and ``/usr/bin/env NAME`` runs the program NAME in ``PATH``.  All of them are checked,
because the kernel and ``env`` name only the script if one of the others is missing or not executable.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.config import has_acl
from rainbowd.errors import DeployFailed
from rainbowd.json_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rainbowd.config import Account

_SHEBANG_BYTES = 256  # more than execve(2) reads
_INTERPRETERS_MAX = 5  # the kernel's limit: a script's interpreter may be a script
_LINKS_MAX = 40  # path_resolution(7)


class CommandNotFound(DeployFailed):
    """A command or an interpreter that does not exist.

    Args:
        reason: in one sentence, which names the key.
        places: the paths that were searched.
    """

    def __init__(self, reason: str, places: Sequence[Path]) -> None:
        super().__init__(reason)
        self.places = tuple(places)


class _Search(NamedTuple):
    """The parameters of a search for programs."""

    env: Mapping[str, str]
    cwd: Path
    key: str
    account: Account | None


def find_command(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, *, key: str = "run", account: Account | None = None
) -> tuple[Path, ...]:
    """Find the program of ``argv`` before anything is started, by the rules of execvp(3).

    Args:
        argv: its first element is searched for.
        env: contains the ``PATH`` to search; relative entries start at ``cwd``.
        cwd: the resolved release.
        key: of the config, for messages.
        account: that will run it; None for the agent's own user.

    Returns:
        What would be executed: the program, then its interpreter if it is a script, and so on.

    Raises:
        CommandNotFound: the program or its interpreter does not exist.
        DeployFailed: the directory is gone, or something that would be executed is not executable.
    """
    if not cwd.is_dir():
        raise DeployFailed(f"release: directory gone: {cwd}")
    check_executable(cwd, account, f"release: user may not enter {cwd}")
    return tuple(_programs(argv[0], _Search(env, cwd, key, account)))


def check_executable(path: Path, account: Account | None, message: str) -> None:
    """Reject a file that ``account`` cannot run, or a directory that it cannot enter, by their modes.

    Args:
        path: the file or directory; ignored if it does not exist.
        account: None for the agent's own user, for which nothing is checked.
        message: of the error; a directory in the path that cannot be entered is added.

    Raises:
        DeployFailed: a mode does not allow it.
    """
    if account is None:
        return
    whole = (path, path.resolve())
    for part in _path_parts(path):
        with suppress(FileNotFoundError):
            if not account.may_execute(part.stat()) and not has_acl(part):
                raise DeployFailed(message + ("" if part in whole else f", as {part} is closed to it"))


def _path_parts(path: Path) -> Iterator[Path]:
    """Yield ``path`` and every directory that leads to it, also through symlinks."""
    for _ in range(_LINKS_MAX):
        yield from (path, *path.parents)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    resolved = path.resolve()
    yield from (resolved, *resolved.parents)


def _programs(name: str, search: _Search, script: Path | None = None, depth: int = 0) -> Iterator[Path]:
    """Yield the program ``name`` and its interpreters; ``script`` is what names it, if a script does."""
    program = _find(name, search, script)
    yield program
    if depth == _INTERPRETERS_MAX:
        return
    interpreter, argument = _first_line(program)
    if not interpreter:
        return
    yield from _programs(interpreter if "/" in interpreter else f"./{interpreter}", search, program, depth + 1)
    looked_up = _name_for_env(argument) if interpreter.rpartition("/")[2] == "env" else None
    if looked_up is not None:
        yield from _programs(looked_up, search, program, depth + 1)


def _find(name: str, search: _Search, script: Path | None) -> Path:
    """Return the executable file that ``name`` stands for."""
    of_script = "" if script is None else f" (the interpreter of {script})"
    path = search.env.get("PATH", os.defpath)
    directories = [""] if "/" in name else path.split(":")
    places = [search.cwd / directory / name for directory in directories]
    files = [place for place in places if os.access(place, os.F_OK)]
    for file in files:
        if file.is_file() and os.access(file, os.X_OK):
            shown = file if script is None else file.resolve()
            check_executable(file, search.account, f"{search.key}: not executable by user: {shown}{of_script}")
            return file
    if files:
        raise DeployFailed(f"{search.key}: not executable: {name}{of_script} ({_why_not_executable(files[0])})")
    if script is not None and name.endswith("\r"):
        of_script = f" (the interpreter of {script}, whose lines end as on Windows: convert it with dos2unix)"
    shown_name = name.replace("\r", "\\r")
    hint = of_script or _why_not_found(name, places)
    if "/" not in name:
        hint += f"; PATH is {path}" + (", where nothing expands $ or ~" if set("$~") & set(path) else "")
    raise CommandNotFound(f"{search.key}: command not found: {shown_name}{hint}", places)


def _why_not_executable(file: Path) -> str:
    if file.is_dir():
        return "a directory"
    if not file.is_file():
        return "not a regular file"
    if file.stat().st_mode & 0o111:
        return "closed to this user, or on a file system mounted noexec"
    return f"chmod +x {shlex.quote(str(file))}"


def _why_not_found(name: str, places: Sequence[Path]) -> str:
    dangling = next((place for place in places if place.is_symlink()), None)
    if dangling is not None:
        return f" (a link to {dangling.readlink()}, which does not exist)"
    if re.search(r"\S\s+\S", name):
        return " (a list is run without a shell: write each word as an element of its own, or one string)"
    return ""


def _first_line(program: Path) -> tuple[str, str]:
    """Return the interpreter and the one argument that the first line of a script names, as execve(2) reads them."""
    try:
        with open_regular(program) as file:
            start = file.read(_SHEBANG_BYTES)
    except OSError:  # executable but not readable: only the kernel knows
        return "", ""
    if not start.startswith(b"#!"):
        return "", ""
    words = re.split(rb"[ \t]+", start[2:].split(b"\n", 1)[0].strip(b" \t"), maxsplit=1)
    return os.fsdecode(words[0]), os.fsdecode(words[1]) if len(words) > 1 else ""


def _name_for_env(argument: str) -> str | None:
    """Return the program that env(1) runs for the argument of a first line; None if only env knows."""
    if not argument.startswith("-"):
        return argument or None
    if not argument.startswith("-S"):
        return None
    try:
        words = shlex.split(argument.removeprefix("-S"))
    except ValueError:
        return None
    name = next((word for word in words if "=" not in word), "-")
    return None if name.startswith("-") else name
