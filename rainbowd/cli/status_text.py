"""The status as text for people, on a terminal or in a pipe.

``status`` and ``status_watch`` both print it.  They must start as fast as Python does, so this imports little.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rainbowd.cli import disk
from rainbowd.cli.deploy_step import describe_deploy
from rainbowd.cli.terminal import (
    BOLD,
    DIM,
    GREEN,
    RED,
    YELLOW,
    ago,
    align_columns,
    describe_result,
    escape_control,
    generation_style,
    painter,
    release_name,
)
from rainbowd.errors import RainbowdError
from rainbowd.report.sentences import WARNINGS, fill
from rainbowd.report.status import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.cli.terminal import Paint

HEADER = ["", "id", "state", "release", "address", "pid", "age", "in flight", "tunnels", "requests", "path"]
NUMBERS = {"id", "pid", "in flight", "tunnels", "requests"}
"""The columns that are aligned to the right."""


def status_text(status: dict[str, Any], state_dir: Path) -> str:
    """Return the status as text for people, without a final newline.

    Args:
        status: the content of status.json.
        state_dir: the state directory that contains it.

    Raises:
        RainbowdError: the status does not have the fields that an agent writes.
    """
    paint = painter()
    try:
        deploying = status.get("deploying")
        last_deploy = status["last_deploy"]
        agent = status["agent"]
        lines = [_agent(agent, paint), *_workers(agent.get("workers", [])), *_generations(status, paint)]
        if deploying is None:
            lines += _last_deploy(last_deploy, status, paint)
        else:
            lines.append(paint(YELLOW, describe_deploy(deploying, status["generations"])))
        lines += _fleet(status.get("fleet"), paint)
        lines += [paint(YELLOW, text) for text in _closed(status)]
        style = RED if status["live"] is None else YELLOW
        lines += [paint(style, f"warning: {text}") for text in _warnings(status, state_dir)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise RainbowdError(f"{state_dir / NAME}: damaged; expected the status of an agent") from None
    return "\n".join(lines)


def _agent(agent: dict[str, Any], paint: Paint) -> str:
    listen = ", ".join(escape_control(address) for address in agent["listen"]) or "nothing"
    state = paint(GREEN if agent["state"] == "ready" else YELLOW, escape_control(agent["state"]))
    name = f"{escape_control(agent['name'])}  " if agent.get("name") else ""
    return (
        f"{name}agent {escape_control(agent['pid'])}  rainbowd {escape_control(agent['version'])}  {state}  "
        f"up {ago(agent['started_at'])}  listening on {listen}"
    )


def _workers(processes: list[dict[str, Any]]) -> list[str]:
    """Return a line about the processes that serve requests, of which the agent is the first; none if it is alone."""
    if not processes:
        return []
    pids = ["waits to be started again" if process["pid"] is None else process["pid"] for process in processes[1:]]
    workers = "worker" if len(pids) == 1 else "workers"
    return [f"{len(pids)} {workers} besides the agent: {', '.join(escape_control(pid) for pid in pids)}"]


def _generations(status: dict[str, Any], paint: Paint) -> list[str]:
    generations = status["generations"]
    kept = _kept(status.get("kept"))
    if not generations:
        return ["no generations", *kept]
    rows = [HEADER, *(_row(generation, status["live"]) for generation in generations)]
    styles = [DIM, *(_style(generation["id"], status["live"]) for generation in generations)]
    header, *lines = [paint(style, line) for style, line in zip(styles, align_columns(rows, NUMBERS), strict=True)]
    found = [header]
    for generation, line in zip(generations, lines, strict=True):
        found += [line, *(paint(styles[0], text) for text in _processes(generation))]
    return [*found, *kept]


def _kept(kept: dict[str, Any] | None) -> list[str]:
    """Return lines about the companion processes that go on while their app is launched again."""
    if kept is None:
        return []
    return [f"processes of generation {escape_control(kept['generation'])}, whose app has ended:", *_processes(kept)]


def _processes(owner: dict[str, Any]) -> list[str]:
    """Return a line for each companion process of a generation."""
    processes = owner.get("processes", [])
    names = [process["name"] for process in processes]
    rows = []
    for process in processes:
        is_alone = names.count(process["name"]) == 1
        name = process["name"] if is_alone else f"{process['name']}.{process['instance']}"
        since = f"up {ago(process['started_at'])}" if process["started_at"] is not None else ""
        pid = "" if process["pid"] is None else f"pid {process['pid']}"
        cells = ["    ", name, process["state"], pid, since, f"restarts {process['restarts']}"]
        rows.append([escape_control(cell) for cell in cells])
    return align_columns(rows, set()) if rows else []


def _style(generation: int, live: int | None) -> str:
    return f"{BOLD};{generation_style(generation)}" if generation == live else generation_style(generation)


def _row(generation: dict[str, Any], live: int | None) -> list[str]:
    release = generation["release"]
    cells = [
        "*" if generation["id"] == live else "",
        generation["id"],
        generation["state"] if generation.get("share") is None else f"canary {generation['share']:g} %",
        release_name(release),
        generation["address"],
        "-" if generation["pid"] is None else generation["pid"],
        ago(generation["started_at"]),
        generation["in_flight"],
        generation["tunnels"],
        generation["requests"],
        release,
    ]
    return [escape_control(cell) for cell in cells]


def _last_deploy(deploy: dict[str, Any] | None, status: dict[str, Any], paint: Paint) -> list[str]:
    if deploy is None:
        return []
    back = [generation["release"] for generation in status["generations"] if generation["id"] == status["live"]]
    is_rollback = deploy.get("rollback") is True
    result, style = describe_result(
        deploy["result"], deploy["reason"], back[0] if back else None, is_rollback=is_rollback
    )
    reason = f": {escape_control(deploy['reason'])}" if deploy["reason"] else ""
    return [f"last deploy  {paint(style, result)} {ago(deploy['at'])} ago{reason}"]


def _fleet(fleet: dict[str, Any] | None, paint: Paint) -> list[str]:
    """Return a line about the fleet, and one about etcd if it is away."""
    if fleet is None:
        return []
    phase, release = fleet.get("phase"), fleet.get("wanted")
    rollout = f", rollout {fleet['order']} {str(phase or 'begins').replace('_', ' ')}" if fleet.get("order") else ""
    by_hand = ", the link was changed by hand" if fleet.get("by_hand") else ""
    text = f"fleet {fleet['name']}: {release or 'no release yet'}{rollout}; this is {fleet['member']}{by_hand}"
    lines = [escape_control(text)]
    engine = fleet["engine"]
    if engine["state"] in {"away", "aside"}:
        since = ago(engine["since"])
        problem = "etcd is away" if engine["state"] == "away" else "this member stands aside"
        lines.append(paint(YELLOW, f"warning: {problem} for {since}: {escape_control(engine['reason'])}"))
    return lines


def _closed(status: dict[str, Any]) -> list[str]:
    """Return that the site is in maintenance, or that requests wait."""
    found, maintenance, pausing = [], status.get("maintenance"), status.get("pause")
    if maintenance is not None:
        by = f", by {escape_control(maintenance['by'])}" if maintenance["by"] else ""
        found.append(f"maintenance for {ago(maintenance['at'])}{by}: every request is answered 503")
    if pausing is not None:
        found.append(f"paused for {ago(pausing['at'])}: new requests wait for {pausing['seconds']:g} s at most")
    return found


def _warnings(status: dict[str, Any], state_dir: Path) -> list[str]:
    """Return the agent's own warnings, and warnings that the agent itself cannot notice or write."""
    found = [escape_control(warning["text"]) for warning in status.get("warnings", [])]
    live = next((item for item in status["generations"] if item["id"] == status["live"]), None)
    if live is not None and _is_missing(live["release"]):
        found.insert(0, escape_control(fill(WARNINGS["gone"], {"release": live["release"]})))
    return [*found, *filter(None, [disk.warning(state_dir)])]


def _is_missing(directory: str) -> bool:
    """Return whether a directory certainly no longer exists; one that this user cannot see may still exist."""
    try:
        os.stat(directory)  # noqa: PTH116 - pathlib is not needed for this
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
