"""The short commands of deployers: ``pause``, ``resume``, ``abort``, ``lock``, ``unlock``, ``forget`` and ``join``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.cli.fleet.session import author, run
from rainbowd.cli.terminal import escape_control, print_line
from rainbowd.errors import RainbowdError
from rainbowd.fleet import orders
from rainbowd.fleet.documents import LOCK, MEMBERS, ORDER, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.cli.fleet.session import Session
    from rainbowd.fleet.documents import Documents

    Change = Callable[[Documents], tuple[dict[str, int], dict[str, str | None], str]]
    """From what the engine contains to the guards and values of one transaction, and the message about it."""


def pause(config_path: Path | None, fleet_path: Path | None, *, is_paused: bool) -> int:
    """Hold further turns of the rollout, or release them.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        is_paused: whether to hold them.

    Returns:
        The exit status.

    Raises:
        Refused: no rollout is under way.
    """

    def change(documents: Documents) -> tuple[dict[str, int], dict[str, str | None], str]:
        order = orders.paused(documents, is_paused=is_paused)
        state = "is paused: turns that have begun end" if is_paused else "continues"
        return _order_guards(documents), {ORDER: order.encode()}, f"rollout {order.id} of {order.release} {state}"

    return _write(config_path, fleet_path, change)


def abort(config_path: Path | None, fleet_path: Path | None, *, halts: bool) -> int:
    """End the rollout as if it had failed.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        halts: whether the members that have the release keep it.

    Returns:
        The exit status.

    Raises:
        Refused: no rollout is under way.
    """

    def change(documents: Documents) -> tuple[dict[str, int], dict[str, str | None], str]:
        order = orders.aborted(documents, author(None), halts=halts)
        result = "its members stay as they are" if order.on_failure == "halt" else "its members go back"
        return _order_guards(documents), {ORDER: order.encode()}, f"rollout {order.id} is aborted: {result}"

    return _write(config_path, fleet_path, change)


def lock(config_path: Path | None, fleet_path: Path | None, note: str) -> int:
    """Refuse further orders until ``unlock``; a rollout that is under way continues.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        note: why, for those who are refused.

    Returns:
        The exit status.

    Raises:
        Refused: the fleet is locked already.
    """

    def change(documents: Documents) -> tuple[dict[str, int], dict[str, str | None], str]:
        document = orders.lock(documents, author(note))
        return {LOCK: documents.snapshot.revision_of(LOCK)}, {LOCK: document.encode()}, "the fleet is locked"

    return _write(config_path, fleet_path, change)


def unlock(config_path: Path | None, fleet_path: Path | None) -> int:
    """Allow orders again, regardless of who locked the fleet.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.

    Returns:
        The exit status.

    Raises:
        RainbowdError: the fleet is not locked.
    """

    def change(documents: Documents) -> tuple[dict[str, int], dict[str, str | None], str]:
        if documents.lock is None:
            raise RainbowdError("cannot unlock: the fleet is not locked")
        return {LOCK: documents.snapshot.revision_of(LOCK)}, {LOCK: None}, "the fleet is unlocked"

    return _write(config_path, fleet_path, change)


def forget(config_path: Path | None, fleet_path: Path | None, member: str) -> int:
    """Remove a member that will not come back.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        member: its name.

    Returns:
        The exit status.

    Raises:
        RainbowdError: it is unknown or present.
    """

    def change(documents: Documents) -> tuple[dict[str, int], dict[str, str | None], str]:
        if member in documents.present:
            raise RainbowdError(f"cannot forget {member}: its agent is running")
        key = _member_key(documents, member, "forget")
        return {key: documents.snapshot.revision_of(key)}, {key: None}, f"{member} is forgotten"

    return _write(config_path, fleet_path, change)


def join(config_path: Path | None, fleet_path: Path | None, member: str | None) -> int:
    """Give up a link that was changed by hand: the member follows the fleet again.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        member: its name; None for this machine.

    Returns:
        The exit status.

    Raises:
        RainbowdError: it is unknown.
    """

    async def act(session: Session) -> int:
        name = member or session.settings.member_name

        def change(documents: Documents) -> tuple[dict[str, int], dict[str, str | None], str]:
            key = _member_key(documents, name, "join")
            document = documents.members[name].model_copy(update={"join": True})
            return (
                {key: documents.snapshot.revision_of(key)},
                {key: document.encode()},
                f"{name} follows the fleet again",
            )

        return await _until_written(session, change)

    return run(config_path, fleet_path, act)


def _write(config_path: Path | None, fleet_path: Path | None, change: Change) -> int:
    async def act(session: Session) -> int:
        return await _until_written(session, change)

    return run(config_path, fleet_path, act)


async def _until_written(session: Session, change: Change) -> int:
    """Write a change of what the engine contains; if something else changes meanwhile, read again."""
    while True:
        guards, puts, text = change(await session.read())
        if await session.engine.commit(guards, puts):
            print_line(escape_control(text))
            return 0


def _order_guards(documents: Documents) -> dict[str, int]:
    return {key: documents.snapshot.revision_of(key) for key in (ORDER, PROGRESS)}


def _member_key(documents: Documents, member: str, verb: str) -> str:
    if member not in documents.members:
        known = ", ".join(sorted(documents.members)) or "none"
        raise RainbowdError(f"cannot {verb} {member}: no such member; there is {known}")
    return f"{MEMBERS}{member}"
