"""Where a command's files are, and what the agent that runs for them says of itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.errors import ConfigError, NotRunning, RainbowdError
from rainbowd.locations import CONFIG_VARIABLE, find_config, read_locations
from rainbowd.report.state_dir import holder
from rainbowd.report.status import NAME, read

if TYPE_CHECKING:
    from rainbowd.locations import Locations

FIRST_STATUS_SECONDS = 1.0
"""An agent that has just started has its lock an instant before it writes its first status."""
LOOK_SECONDS = 0.02


def locate(config_path: Path | None) -> Locations:
    """Where the files of the config are.

    Args:
        config_path: of ``--config``; None looks in the working directory.

    Raises:
        ConfigError: there is no config file.
        RainbowdError: it is broken; judging it is the agent's, we cannot go on, that is all.
    """
    file = find_config(config_path)
    if not file.exists():
        by = f" ({CONFIG_VARIABLE} names it)" if config_path is None else ""
        raise ConfigError(f"{file}: no such file{by}; expected the config of the agent")
    try:
        return read_locations(file)
    except ConfigError as error:
        raise RainbowdError(str(error)) from None


def need_agent(state_dir: Path) -> int:
    """The pid of the agent that has the state directory, be it still starting.

    Raises:
        NotRunning: there is none.
        UsageError: that cannot be told.
    """
    pid = holder(state_dir)
    if pid is None:
        raise NotRunning(f"no agent is running: nothing holds {state_dir / 'lock'}")
    return pid


def read_status(state_dir: Path) -> dict[str, Any]:
    """What the agent wrote that is running now: a file that an earlier one left is none of its.

    Raises:
        NotRunning: there is none.
        RainbowdError: it has left no status that can be read.
    """
    deadline = time.monotonic() + FIRST_STATUS_SECONDS
    while True:
        pid = need_agent(state_dir)
        told = read(state_dir)
        if told is not None and _pid(told) == pid:
            return told
        if time.monotonic() >= deadline:
            raise RainbowdError(f"{state_dir / NAME}: the running agent (pid {pid}) has not written it")
        time.sleep(LOOK_SECONDS)


def live_release(state_dir: Path) -> str | None:
    """The release of the live generation; None where nothing is live.

    Raises:
        RainbowdError: as ``read_status``, or the file is damaged.
    """
    told = read_status(state_dir)
    try:
        releases = [str(one["release"]) for one in told["generations"] if one["id"] == told["live"]]
    except (KeyError, TypeError):
        raise RainbowdError(f"{state_dir / NAME}: damaged; expected what an agent writes there") from None
    return releases[0] if releases else None


def linked_release(link: Path) -> Path | None:
    """The directory that the link leads to, or would if there were one; None where there is no link."""
    return Path(os.path.realpath(link)) if os.path.lexists(link) else None


def _pid(told: dict[str, Any]) -> object:
    agent = told.get("agent")
    return agent.get("pid") if isinstance(agent, dict) else None
