"""``rainbowd fleet`` and ``rainbowd fleet history``: the members with their releases, and the past rollouts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from rainbowd.cli.fleet.session import run
from rainbowd.cli.terminal import (
    DIM,
    GREEN,
    INTERRUPTED,
    RED,
    YELLOW,
    align_columns,
    escape_control,
    is_coloured,
    painter,
    print_line,
)
from rainbowd.fleet.documents import parse_history
from rainbowd.fleet.models import Phase, State
from rainbowd.fleet.orders import clock, progress_text
from rainbowd.fleet.summary import summarise

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.cli.fleet.session import Session
    from rainbowd.cli.terminal import Paint
    from rainbowd.fleet.documents import Documents
    from rainbowd.fleet.models import Past

LOOK_SECONDS = 1.0
_STATES = {"prepared": "waits", "claimed": "deploys", "reverting": "goes back", "reverted": "is back"}
"""The states of members that are shown under another name."""

_CLEAR = "\x1b[H\x1b[2J"
_STYLES = {Phase.SUCCEEDED: GREEN, Phase.ROLLED_BACK: RED, Phase.FAILED: RED, Phase.HALTED: YELLOW}


def show(config_path: Path | None, fleet_path: Path | None, *, as_json: bool, is_watching: bool) -> int:
    """Show the members and the rollout.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        as_json: print JSON.
        is_watching: print it again after each change, until Ctrl-C.

    Returns:
        The exit status.

    Raises:
        EngineError: the engine does not answer, or refuses.
    """

    async def act(session: Session) -> int:
        shown = None
        while True:
            documents = await session.read()
            text = _json(session, documents) if as_json else _text(session, documents)
            if text != shown:
                print_line(f"{_CLEAR if is_watching and is_coloured() and not as_json else ''}{text}")
                shown = text
            if not is_watching:
                return 0
            await trio.sleep(LOOK_SECONDS)

    try:
        return run(config_path, fleet_path, act)
    except KeyboardInterrupt:
        return INTERRUPTED


def history(config_path: Path | None, fleet_path: Path | None, *, as_json: bool) -> int:
    """List the rollouts that are over, newest first.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        as_json: print JSON.

    Returns:
        The exit status.

    Raises:
        EngineError: the engine does not answer, or refuses.
    """

    async def act(session: Session) -> int:
        past = parse_history(await session.engine.snapshot())
        if as_json:
            print_line(json.dumps([_entry(one) for one in past], indent=2))
            return 0
        rows = [["ROLLOUT", "AT", "RELEASE", "RESULT", "BY", "NOTE"]]
        rows += [[escape_control(cell) for cell in _row(one)] for one in past]
        for line in align_columns(rows, {"ROLLOUT"}):
            print_line(line)
        return 0

    return run(config_path, fleet_path, act)


def _row(past: Past) -> list[str]:
    order, progress = past.order, past.progress
    result = progress.phase.replace("_", " ") + (f": {progress.reason}" if progress.reason else "")
    return [str(order.id), clock(order.at), order.release, result, order.by, order.note or ""]


def _entry(past: Past) -> dict[str, object]:
    return {
        **past.order.model_dump(mode="json", exclude={"format", "request"}),
        "result": past.progress.phase,
        "reason": past.progress.reason,
        "members": {name: turn.state for name, turn in past.progress.members.items()},
    }


def _json(session: Session, documents: Documents) -> str:
    return json.dumps({"name": session.settings.name, **summarise(documents)})


def _text(session: Session, documents: Documents) -> str:
    """Return the fleet for people: its rollout, its lock, and a table of its members."""
    paint, found = painter(), summarise(documents)
    lines = [f"fleet {session.settings.name}: {escape_control(found['wanted'] or 'no release yet')}"]
    if (order := documents.order) is not None:
        style = _STYLES.get(documents.phase, YELLOW) if documents.phase is not None else YELLOW
        state = paint(style, escape_control(progress_text(documents)))
        noted = f": {escape_control(order.note)}" if order.note else ""
        lines.append(f"rollout {order.id} of {order.release}: {state}")
        lines.append(f"  by {escape_control(order.by)} at {escape_control(clock(order.at))}{noted}")
        reason = documents.progress.reason if documents.progress is not None and documents.phase is not None else None
        lines += [f"  {escape_control(reason)}"] if reason else []
    if (lock := documents.lock) is not None:
        lines.append(paint(YELLOW, escape_control(f"locked by {lock.by} since {clock(lock.at)}: {lock.note}")))
    return "\n".join([*lines, "", *_table(documents, paint)])


def _table(documents: Documents, paint: Paint) -> list[str]:
    """Return the lines of the table of the members; those that are absent are dim."""
    members = summarise(documents)["members"]
    assert isinstance(members, list)
    rows = [["MEMBER", "RELEASE", "STATE", "NOTE"]]
    for member in members:
        state = _state(documents, member["state"]) if member["present"] else "absent"
        note = "by hand" if member["by_hand"] else member["reason"] or ""
        rows.append([escape_control(cell) for cell in (member["name"], member["release"] or "-", state, note)])
    header, *lines = align_columns(rows, set())
    styles = ["" if member["present"] else DIM for member in members]
    return [header, *map(paint, styles, lines)]


def _state(documents: Documents, state: object) -> str:
    """Return a member's state in words: a member whose turn never came waits for nothing once the rollout is over."""
    if state == State.PREPARED and not documents.is_under_way:
        return "unchanged"
    return _STATES.get(str(state), str(state or "-"))
