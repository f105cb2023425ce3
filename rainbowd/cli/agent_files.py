"""The files of a config, and the status of the agent that runs with them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.config_paths import CONFIG_VARIABLE, find_config, read_config_paths
from rainbowd.errors import ConfigError, NotRunning, RainbowdError, UsageError
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events
from rainbowd.report.lock import holder
from rainbowd.report.status import NAME, read

if TYPE_CHECKING:
    from rainbowd.config_paths import ConfigPaths

FIRST_STATUS_SECONDS = 5.0
"""How long to wait for the first status of an agent that has just started."""
POLL_SECONDS = 0.02


def locate(config_path: Path | None) -> ConfigPaths:
    """Return the paths that the config contains.

    Args:
        config_path: the value of ``--config``; None searches the working directory.

    Raises:
        ConfigError: the config file does not exist.
        RainbowdError: the config is invalid.
    """
    file = find_config(config_path)
    if not file.exists():
        by = f" ({CONFIG_VARIABLE} names it)" if config_path is None else ""
        raise ConfigError(f"{file}: no such file{by}; expected the config of the agent")
    try:
        return read_config_paths(file)
    except ConfigError as error:
        raise RainbowdError(str(error)) from None


def require_agent(state_dir: Path) -> int:
    """Return the pid of the agent that uses the state directory, even if it is still starting.

    Raises:
        NotRunning: no agent is running.
        UsageError: the lock cannot be read.
    """
    pid = holder(state_dir)
    if pid is None:
        raise NotRunning(f"no agent is running: nothing holds {state_dir / 'lock'}")
    return pid


def read_status(state_dir: Path) -> dict[str, Any]:
    """Return the status that the running agent wrote, and not the file of an earlier agent.

    Raises:
        NotRunning: no agent is running.
        RainbowdError: the running agent has written no readable status.
    """
    deadline = time.monotonic() + FIRST_STATUS_SECONDS
    while True:
        pid = require_agent(state_dir)
        status = read(state_dir)
        if status is not None and _pid(status) == pid:
            return status
        if time.monotonic() >= deadline:
            raise RainbowdError(f"{state_dir / NAME}: the running agent (pid {pid}) has not written it")
        time.sleep(POLL_SECONDS)


def live_generation(state_dir: Path) -> dict[str, Any] | None:
    """Return the live generation from the status; None if nothing is live.

    Raises:
        RainbowdError: as ``read_status``, or the file is damaged.
    """
    status = read_status(state_dir)
    try:
        generations = status["generations"]
        return next((each for each in generations if each["id"] == status["live"] and str(each["release"])), None)
    except (KeyError, TypeError):
        raise RainbowdError(f"{state_dir / NAME}: damaged; expected the status of an agent") from None


def live_release(state_dir: Path) -> str | None:
    """Return the release of the live generation; None if nothing is live.

    Raises:
        RainbowdError: as ``live_generation``.
    """
    live = live_generation(state_dir)
    return None if live is None else str(live["release"])


def current_release(paths: ConfigPaths) -> Path | None:
    """Return the live release, or the one that the link names while nothing is live; None if there is neither."""
    with contextlib.suppress(RainbowdError):
        live = live_release(paths.state_dir)
        if live is not None:
            return Path(live)
    return linked_release(paths.release)


def require_trusted_config(file: Path, verb: str) -> None:
    """Reject, for root, a config that others can write: they could have root replace or remove any file that it names.

    Args:
        file: the config file.
        verb: the action of the command, for the message: ``deploy``.

    Raises:
        UsageError: this user is root, and others can write the file.
    """
    if os.geteuid() != 0:
        return
    from rainbowd.permissions import find_writable_by_others

    try:
        part = next(iter(find_writable_by_others(file)), None)
    except OSError as error:
        raise UsageError(f"cannot {verb} as root: {file}: cannot be checked ({error.strerror})") from None
    if part is not None:
        raise UsageError(
            f"cannot {verb} as root: {part.path} may be written by {part.writers}, who could have root replace or "
            f"remove any file by this config; run this as another user"
        )


def reject_own_deploy(state_dir: Path, verb: str) -> None:
    """Reject a command in a hook that would wait for the deploy that runs the hook, and so for itself.

    Args:
        state_dir: of the agent that the command is for.
        verb: the action of the command, for the message: ``wait for a deploy``.

    Raises:
        UsageError: this command runs in a hook of a deploy of the same agent that has no outcome yet.
    """
    deploy, own = os.environ.get("RAINBOWD_DEPLOY"), os.environ.get("RAINBOWD_STATE_DIR")
    if not deploy or not own or os.path.realpath(own) != os.path.realpath(state_dir):
        return
    entry = next((known for known in deploys(read_events(state_dir, "deploy.")) if known["deploy"] == deploy), None)
    if entry is not None and entry["result"] is None:
        hook = os.environ.get("RAINBOWD_HOOK") or "a hook"
        raise UsageError(
            f"cannot {verb} in the hook {hook} of deploy {deploy}: that deploy itself waits for the hook; "
            f"use hooks.after_live, or run this outside of the hook"
        )


def linked_release(link: Path) -> Path | None:
    """Return the directory that the link points to, even if it does not exist; None if the link does not exist."""
    return Path(os.path.realpath(link)) if os.path.lexists(link) else None


def _pid(status: dict[str, Any]) -> object:
    agent = status.get("agent")
    return agent.get("pid") if isinstance(agent, dict) else None
