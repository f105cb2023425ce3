"""``rainbowd maintenance``, ``pause`` and ``resume``: close and open the site by writing and removing a file."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from rainbowd.cli.agent_files import POLL_SECONDS, locate, read_status, require_agent, require_trusted_config
from rainbowd.cli.terminal import INTERRUPTED, escape_control, print_error, print_line
from rainbowd.errors import RainbowdError, TimedOut, Unwritable, UsageError
from rainbowd.report.lock import holder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config_paths import ConfigPaths

SEEN_SECONDS = 10.0
"""How long the agent may take to notice the file."""
MODE = 0o664


def maintenance(config_path: Path | None, action: str | None, message: str | None) -> int:
    """Put the site into maintenance, end that, or print whether it is in maintenance.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        action: ``on``, ``off``, or None to print which.
        message: the content of the file, text or HTML; None for rainbowd's own text.

    Returns:
        The exit status.

    Raises:
        NotRunning: no agent is running.
        UsageError: maintenance is turned off in the config, or the file cannot be written.
        RainbowdError: the agent has not noticed the file.
    """
    paths = locate(config_path)
    file = _require(paths.maintenance_file, "maintenance.file")
    if action is None:
        print_line("on" if os.path.lexists(file) else "off")
        return 0
    if message is not None and action == "off":
        raise UsageError("--message: found with off; expected with on")
    return _switch(paths, file, "maintenance", f"{message}\n".encode() if message else b"", is_on=action == "on")


def pause(config_path: Path | None, timeout_seconds: float | None) -> int:
    """Hold all new requests, and wait until no request is in flight.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        timeout_seconds: how long a request is held, and how long the command waits; None for ``hold.timeout``.

    Returns:
        The exit status.

    Raises:
        NotRunning: no agent is running.
        UsageError: pauses are turned off in the config, or the file cannot be written.
        TimedOut: requests are still in flight.
        RainbowdError: the agent has not noticed the file.
    """
    paths = locate(config_path)
    file = _require(paths.pause_file, "pause_file")
    if timeout_seconds == 0:
        raise UsageError("--timeout: found 0; expected a number of seconds above 0")
    line = b"" if timeout_seconds is None else f"{timeout_seconds:g}\n".encode()
    _switch(paths, file, "pause", line, is_on=True)
    try:
        return _wait_until_quiet(paths.state_dir)
    except KeyboardInterrupt:
        print_error("stopped waiting; new requests wait until `rainbowd resume`")
        return INTERRUPTED


def resume(config_path: Path | None) -> int:
    """Serve new requests again, and those that wait.

    Args:
        config_path: the value of ``--config``; None searches the working directory.

    Returns:
        The exit status.

    Raises:
        UsageError: pauses are turned off in the config, or the file cannot be removed.
        RainbowdError: the agent has not noticed that.
    """
    paths = locate(config_path)
    return _switch(paths, _require(paths.pause_file, "pause_file"), "pause", b"", is_on=False)


def _require(file: Path | None, key: str) -> Path:
    if file is None:
        raise UsageError(f"{key}: found null; expected a path, because this command works by a file")
    return file


def _switch(paths: ConfigPaths, file: Path, key: str, content: bytes, *, is_on: bool) -> int:
    """Write or remove a file, and wait until the status shows it."""
    require_trusted_config(paths.config_file, f"change {key}")
    if is_on:
        require_agent(paths.state_dir)
        _write(file, content, key)
    else:
        _remove(file, key)
    if is_on or holder(paths.state_dir) is not None:
        _wait_for_status(paths.state_dir, lambda status: (status.get(key) is not None) is is_on, file)
    print_line(f"{key} is {'on' if is_on else 'off'}")
    return 0


def _write(file: Path, content: bytes, key: str) -> None:
    """Replace a file, so that an agent reads all of it or nothing."""
    new_file = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        fd = os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        try:
            with os.fdopen(fd, "wb") as opened:
                opened.write(content)
            new_file.replace(file)
        except OSError:
            new_file.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unwritable(f"{key}: {file}: cannot be written", error) from None


def _remove(file: Path, key: str) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise Unwritable(f"{key}: {file}: cannot be removed", error) from None


def _wait_for_status(state_dir: Path, is_reached: Callable[[dict[str, Any]], bool], file: Path) -> dict[str, Any]:
    deadline = time.monotonic() + SEEN_SECONDS
    while not is_reached(status := read_status(state_dir)):
        if time.monotonic() >= deadline:
            raise RainbowdError(f"the agent has not noticed {escape_control(file)} within {SEEN_SECONDS:g} seconds")
        time.sleep(POLL_SECONDS)
    return status


def _wait_until_quiet(state_dir: Path) -> int:
    """Wait until no request is in flight, for as long as the pause holds one request."""
    pausing = read_status(state_dir)["pause"]
    seconds = float(pausing["seconds"]) if isinstance(pausing, dict) else 0.0
    deadline = time.monotonic() + seconds
    while in_flight := _in_flight(state_dir):
        if time.monotonic() >= deadline:
            raise TimedOut(f"{in_flight} requests are still in flight after {seconds:g} seconds; new requests wait")
        time.sleep(POLL_SECONDS)
    print_line("no request is in flight")
    return 0


def _in_flight(state_dir: Path) -> int:
    with contextlib.suppress(KeyError, TypeError):
        return sum(int(one["in_flight"]) for one in read_status(state_dir)["generations"])
    return 0
