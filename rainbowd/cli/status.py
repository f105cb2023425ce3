"""``rainbowd status``: print the status that the running agent wrote to its state directory.

This must start as fast as Python does, so it imports only a few modules of the standard library.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate, read_status
from rainbowd.cli.status_text import status_text

if TYPE_CHECKING:
    from pathlib import Path


def status(config_path: Path | None, *, as_json: bool, is_watching: bool = False) -> int:
    """Print the status of the agent that runs with a config.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        as_json: print the status as JSON, as the agent wrote it.
        is_watching: update the output until the user interrupts it.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: the config file does not exist.
        NotRunning: no agent is running with this config.
        RainbowdError: the config is invalid, or the agent has written no readable status.
    """
    state_dir = locate(config_path).state_dir
    if is_watching:
        from rainbowd.cli.status_watch import watch  # not needed, and not loaded, for a single status

        return watch(state_dir, as_json=as_json)
    content = read_status(state_dir)
    print(json.dumps(content, indent=2) if as_json else status_text(content, state_dir))
    return 0
