"""``rainbowd status``: what the agent says of itself and its generations, read from its files.

This has to start as fast as Python does: nothing but the standard library, and of that little.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from rainbowd.cli import disk
from rainbowd.cli.agent_files import locate, read_status
from rainbowd.cli.deploy_step import describe_deploy
from rainbowd.cli.terminal import (
    BOLD,
    DIM,
    GREEN,
    RED,
    YELLOW,
    ago,
    aligned,
    escape_control,
    generation_style,
    name_of,
    painter,
    result_words,
)
from rainbowd.errors import RainbowdError
from rainbowd.report.sentences import WARNINGS, fill
from rainbowd.report.status import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.cli.terminal import Paint

HEADER = ["", "id", "state", "release", "address", "pid", "age", "in flight", "tunnels", "requests", "path"]
NUMBERS = {"id", "pid", "in flight", "tunnels", "requests"}


def status(config_path: Path | None, *, as_json: bool, is_watching: bool = False) -> int:
    """Print the status of the agent that runs for a config.

    Args:
        config_path: of ``--config``; None looks in the working directory.
        as_json: as the agent wrote it.
        is_watching: go on, with what changes.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: there is no config file.
        NotRunning: no agent is running for it.
        RainbowdError: the config is broken, or the agent has left no status that can be read.
    """
    state_dir = locate(config_path).state_dir
    if is_watching:
        from rainbowd.cli.status_watch import watch

        return watch(state_dir, as_json=as_json)
    told = read_status(state_dir)
    text = json.dumps(told, indent=2) if as_json else readable(told, state_dir)
    print(text)
    return 0


# --- for people ------------------------------------------------------------------------------------------


def readable(told: dict[str, Any], state_dir: Path) -> str:
    """The status for people, without an end of line.

    Args:
        told: what the agent wrote.
        state_dir: where.

    Raises:
        RainbowdError: it is damaged.
    """
    paint = painter()
    try:
        deploying = told.get("deploying")
        decided = told["last_deploy"]
        lines = [
            _agent(told["agent"], paint),
            *_table(told, paint),
            *(_last_deploy(decided, told, paint) if deploying is None else [paint(YELLOW, describe_deploy(deploying))]),
            *(paint(RED if told["live"] is None else YELLOW, f"warning: {one}") for one in _warnings(told, state_dir)),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise RainbowdError(f"{state_dir / NAME}: damaged; expected what an agent writes there") from None
    return "\n".join(lines)


def _agent(agent: dict[str, Any], paint: Paint) -> str:
    listen = ", ".join(escape_control(address) for address in agent["listen"]) or "nothing"
    state = paint(GREEN if agent["state"] == "ready" else YELLOW, escape_control(agent["state"]))
    name = f"{escape_control(agent['name'])}  " if agent.get("name") else ""
    return (
        f"{name}agent {escape_control(agent['pid'])}  rainbowd {escape_control(agent['version'])}  {state}  "
        f"up {ago(agent['started_at'])}  listening on {listen}"
    )


def _table(told: dict[str, Any], paint: Paint) -> list[str]:
    generations = told["generations"]
    if not generations:
        return ["no generation is there"]
    rows = [HEADER, *(_row(generation, told["live"]) for generation in generations)]
    styles = [DIM, *(_style(generation["id"], told["live"]) for generation in generations)]
    return [paint(style, line) for style, line in zip(styles, aligned(rows, NUMBERS), strict=True)]


def _style(generation: int, live: int | None) -> str:
    return f"{BOLD};{generation_style(generation)}" if generation == live else generation_style(generation)


def _row(generation: dict[str, Any], live: int | None) -> list[str]:
    shown = generation["release"]
    cells = [
        "*" if generation["id"] == live else "",
        generation["id"],
        generation["state"],
        name_of(shown),
        generation["address"],
        "-" if generation["pid"] is None else generation["pid"],
        ago(generation["started_at"]),
        generation["in_flight"],
        generation["tunnels"],
        generation["requests"],
        shown,
    ]
    return [escape_control(cell) for cell in cells]


def _last_deploy(deploy: dict[str, Any] | None, told: dict[str, Any], paint: Paint) -> list[str]:
    if deploy is None:
        return []
    back = [one["release"] for one in told["generations"] if one["id"] == told["live"]]
    words, style = result_words(deploy["result"], deploy["reason"], back[0] if back else None)
    reason = f": {escape_control(deploy['reason'])}" if deploy["reason"] else ""
    return [f"last deploy  {paint(style, words)} {ago(deploy['at'])} ago{reason}"]


def _warnings(told: dict[str, Any], state_dir: Path) -> list[str]:
    """Return the agent's own warnings, and what only a reader of its files sees."""
    found = [escape_control(one["text"]) for one in told.get("warnings", [])]
    live = next((one for one in told["generations"] if one["id"] == told["live"]), None)
    if live is not None and _is_gone(live["release"]):
        found.insert(0, escape_control(fill(WARNINGS["gone"], {"release": live["release"]})))
    return [*found, *filter(None, [disk.warning(state_dir)])]


def _is_gone(directory: str) -> bool:
    """Whether it is known to be gone: it may also be hidden from us."""
    try:
        os.stat(directory)  # noqa: PTH116 - pathlib is not needed for this
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
