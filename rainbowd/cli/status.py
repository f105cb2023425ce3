"""``rainbowd status``: what the agent says of itself and its generations, read from its files.

This has to start as fast as Python does: nothing but the standard library, and of that little.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rainbowd.errors import ConfigError, NotRunning, RainbowdError
from rainbowd.locations import find_config, read_locations
from rainbowd.report.state_dir import holder
from rainbowd.report.status import NAME, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Paint = Callable[[str, str], str]

FIRST_STATUS_SECONDS = 1.0
"""An agent that has just started has its lock an instant before it writes its first status."""
LOOK_SECONDS = 0.02

HEADER = ["", "id", "state", "release", "address", "pid", "age", "in flight", "tunnels", "requests", "path"]
NUMBERS = {"id", "pid", "in flight", "tunnels", "requests"}

GREEN, YELLOW, RED, DIM = "32", "33", "31", "2"

MINUTE, HOUR, DAY = 60, 3600, 86400


def status(config_path: Path | None, *, as_json: bool) -> int:
    """Print the status of the agent that runs for a config.

    Args:
        config_path: of ``--config``; None looks in the working directory.
        as_json: as the agent wrote it.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: there is no config file.
        NotRunning: no agent is running for it.
        RainbowdError: the config is broken, or the agent has left no status that can be read.
    """
    state_dir = _state_dir(find_config(config_path))
    told = _of_running_agent(state_dir)
    text = json.dumps(told, indent=2) if as_json else _readable(told, state_dir)
    print(text)
    return 0


def _state_dir(file: Path) -> Path:
    if not file.exists():
        raise ConfigError(f"{file}: no such file; expected the config of the agent")
    try:
        return read_locations(file).state_dir
    except ConfigError as error:  # judging the config is the agent's; we cannot go on, that is all
        raise RainbowdError(str(error)) from None


def _of_running_agent(state_dir: Path) -> dict[str, Any]:
    """What the agent wrote that is running now: a file that an earlier one left is none of its."""
    deadline = time.monotonic() + FIRST_STATUS_SECONDS
    while True:
        pid = holder(state_dir)
        if pid is None:
            raise NotRunning(f"no agent is running: nothing holds {state_dir / 'lock'}")
        told = read(state_dir)
        if told is not None and _pid(told) == pid:
            return told
        if time.monotonic() >= deadline:
            raise RainbowdError(f"{state_dir / NAME}: the running agent (pid {pid}) has not written it")
        time.sleep(LOOK_SECONDS)


def _pid(told: dict[str, Any]) -> object:
    agent = told.get("agent")
    return agent.get("pid") if isinstance(agent, dict) else None


# --- for people ------------------------------------------------------------------------------------------


def _readable(told: dict[str, Any], state_dir: Path) -> str:
    paint = _painter()
    try:
        lines = [
            _agent(told["agent"], paint),
            *_table(told, paint),
            *_last_deploy(told["last_deploy"], paint),
            *(paint(YELLOW, f"warning: {warning}") for warning in _warnings(told)),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise RainbowdError(f"{state_dir / NAME}: damaged; expected what an agent writes there") from None
    return "\n".join(lines)


def _agent(agent: dict[str, Any], paint: Paint) -> str:
    listen = ", ".join(_inert(address) for address in agent["listen"]) or "nothing"
    state = paint(GREEN if agent["state"] == "ready" else YELLOW, _inert(agent["state"]))
    return (
        f"agent {_inert(agent['pid'])}  rainbowd {_inert(agent['version'])}  {state}  "
        f"up {_span(agent['started_at'])}  listening on {listen}"
    )


def _table(told: dict[str, Any], paint: Paint) -> list[str]:
    generations = told["generations"]
    if not generations:
        return ["no generation is there"]
    rows = [HEADER, *(_row(generation, told["live"]) for generation in generations)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [_aligned(row, widths) for row in rows]
    styles = [DIM, *(GREEN if generation["id"] == told["live"] else "" for generation in generations)]
    return [paint(style, line) for style, line in zip(styles, lines, strict=True)]


def _row(generation: dict[str, Any], live: int | None) -> list[str]:
    shown = generation["release"]
    cells = [
        "*" if generation["id"] == live else "",
        generation["id"],
        generation["state"],
        os.path.basename(shown) or shown,  # noqa: PTH119 - pathlib is not needed for this
        generation["address"],
        "-" if generation["pid"] is None else generation["pid"],
        _span(generation["started_at"]),
        generation["in_flight"],
        generation["tunnels"],
        generation["requests"],
        shown,
    ]
    return [_inert(cell) for cell in cells]


def _aligned(row: list[str], widths: list[int]) -> str:
    cells = zip(HEADER, row, widths, strict=True)
    padded = (cell.rjust(width) if name in NUMBERS else cell.ljust(width) for name, cell, width in cells)
    return "  ".join(padded).rstrip()


def _last_deploy(deploy: dict[str, Any] | None, paint: Paint) -> list[str]:
    if deploy is None:
        return []
    result = deploy["result"]
    told = paint(RED if result == "failed" else GREEN, _inert(result).replace("_", " "))
    reason = f": {_inert(deploy['reason'])}" if deploy["reason"] else ""
    return [f"last deploy  {told} {_span(deploy['at'])} ago{reason}"]


def _warnings(told: dict[str, Any]) -> list[str]:
    live = next((one for one in told["generations"] if one["id"] == told["live"]), None)
    if live is None:
        return ["nothing is live"]
    release, wanted = _inert(live["release"]), told["wanted"]
    warnings = []
    if _is_gone(live["release"]):
        warnings.append(f"the live release's directory no longer exists: {release}")
    if wanted is None:
        warnings.append(f"the config's release is missing, while {release} is live")
    elif wanted != live["release"]:
        warnings.append(f"the files name {_inert(wanted)}, while {release} is live")
    return warnings


def _is_gone(directory: str) -> bool:
    """Whether it is known to be gone: it may also be hidden from us."""
    try:
        os.stat(directory)  # noqa: PTH116 - pathlib is not needed for this
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _span(since: str) -> str:
    """How long ago a time in RFC 3339 was, in its two largest units."""
    seconds = max(0, int(time.time() - datetime.fromisoformat(since).timestamp()))
    if seconds >= DAY:
        return f"{seconds // DAY}d {seconds % DAY // HOUR}h"
    if seconds >= HOUR:
        return f"{seconds // HOUR}h {seconds % HOUR // MINUTE}m"
    if seconds >= MINUTE:
        return f"{seconds // MINUTE}m {seconds % MINUTE}s"
    return f"{seconds}s"


def _inert(value: object) -> str:
    """Text that a terminal shows and does not obey, in one line, and that any terminal's encoding has."""
    text = str(value)
    encoding = sys.stdout.encoding or "utf-8"
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _painter() -> Paint:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return lambda style, text: f"\x1b[{style}m{text}\x1b[0m" if style else text
    return lambda _style, text: text
