"""``rainbowd fleet deploy`` and ``rainbowd fleet rollback``: order a release, and follow the rollout to its end.

The command holds no lock: if it is killed, the members still carry out the order.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from rainbowd.cli.fleet.rollout_text import ending, headline, steps
from rainbowd.cli.fleet.session import author, run
from rainbowd.cli.terminal import INTERRUPTED, escape_control, print_error, print_line
from rainbowd.errors import TimedOut
from rainbowd.fleet import orders
from rainbowd.fleet.documents import ORDER, parse_history
from rainbowd.fleet.engine import EngineAway
from rainbowd.fleet.models import Phase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from rainbowd.cli.fleet.session import Session
    from rainbowd.fleet.documents import Documents
    from rainbowd.fleet.models import Order, Progress

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Options:
    """The options of a command, apart from the release; None takes the value of the config.

    Attributes:
        waves, parallel, bake, on_failure: see the config's ``fleet``.
        requires_all: refuse if a member is absent.
        note: the deployer's remark.
        wait_seconds: how long to wait for another rollout to end.
        timeout_seconds: how long to follow this one; None for as long as it takes.
        is_waiting: whether to follow it.
    """

    note: str | None
    wait_seconds: float
    timeout_seconds: float | None
    is_waiting: bool
    waves: str | None = None
    parallel: int | None = None
    bake: float | None = None
    on_failure: str | None = None
    requires_all: bool = False


def deploy(config_path: Path | None, fleet_path: Path | None, release: str | None, options: Options) -> int:
    """Deploy a release to all members, or the fleet's release again.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        release: the name of the release; None restarts the present one everywhere.
        options: how.

    Returns:
        The exit status.

    Raises:
        RainbowdError: the order was refused, or its outcome was not known in time.
    """

    async def act(session: Session) -> int:
        policy = _policy(session, options)

        def make(documents: Documents, request: str) -> Order:
            return orders.new_order(documents, request, release, policy, author(options.note))

        return await _carry_out(session, make, options)

    return _run(config_path, fleet_path, act)


def rollback(config_path: Path | None, fleet_path: Path | None, options: Options) -> int:
    """Deploy the release that the fleet ran before, on all members at once.

    Args:
        config_path: the value of ``--config``.
        fleet_path: the value of ``--fleet``.
        options: how.

    Returns:
        The exit status.

    Raises:
        RainbowdError: the order was refused, or its outcome was not known in time.
    """

    def make(documents: Documents, request: str) -> Order:
        return orders.rollback_order(documents, request, author(options.note))

    async def act(session: Session) -> int:
        return await _carry_out(session, make, options)

    return _run(config_path, fleet_path, act)


def _run(config_path: Path | None, fleet_path: Path | None, act: Callable[[Session], Awaitable[int]]) -> int:
    try:
        return run(config_path, fleet_path, act)
    except KeyboardInterrupt:
        print_error("stopped waiting; a rollout that was ordered continues: `rainbowd fleet` shows it")
        return INTERRUPTED


def _policy(session: Session, options: Options) -> orders.Policy:
    settings = session.settings
    return orders.Policy(
        waves=options.waves or settings.waves,
        parallel=options.parallel or settings.parallel,
        bake=settings.bake if options.bake is None else options.bake,
        on_failure="halt" if (options.on_failure or settings.on_failure) == "halt" else "rollback",
        max_failures=settings.max_failures,
        requires_all=options.requires_all,
    )


async def _carry_out(session: Session, make: Callable[[Documents, str], Order], options: Options) -> int:
    order, documents = await _order(session, make, options.wait_seconds)
    print_line(escape_control(headline(order, documents)))
    if not options.is_waiting:
        return 0
    begun = time.monotonic()
    with trio.move_on_after(float("inf") if options.timeout_seconds is None else options.timeout_seconds):
        return await _follow(session, order, begun)
    raise TimedOut(f"no outcome after {options.timeout_seconds:g} s; rollout {order.id} continues")


async def _order(
    session: Session, make: Callable[[Documents, str], Order], wait_seconds: float
) -> tuple[Order, Documents]:
    """Write the order as soon as none is under way, and return it.

    Raises:
        Refused: another order is under way, and still is after ``wait_seconds``.
        EngineError: the engine does not answer, or refuses; an order whose answer was lost may be written.
    """
    request, deadline, is_told = os.urandom(6).hex(), time.monotonic() + wait_seconds, False
    while True:
        documents = await session.read()
        if documents.order is not None and documents.order.request == request:
            return documents.order, documents  # the order was written, and the engine's answer was lost
        try:
            order = make(documents, request)
        except orders.UnderWay as refusal:
            if time.monotonic() >= deadline:
                raise
            if not is_told:
                print_error(f"waiting: {refusal}")
                is_told = True
            await trio.sleep(LOOK_SECONDS / 2)
            continue
        try:
            if await session.engine.commit(orders.order_guards(documents), {ORDER: order.encode()}):
                return order, documents
        except EngineAway as error:
            hint = "the order may have been written: see `rainbowd fleet` once etcd answers"
            raise EngineAway(f"{error}; {hint}") from None


async def _follow(session: Session, order: Order, begun: float) -> int:
    """Print each step of the rollout until it is over; return the exit status."""
    shown: Progress | None = None
    async with trio.open_nursery() as nursery:
        changed = _Changed(session)
        nursery.start_soon(changed.run)
        while True:
            documents = await _read(session)
            order, progress = _present(documents, order)
            if progress is not None:
                seconds = time.monotonic() - begun
                _print_steps(steps(order, shown, progress, documents), seconds)
                shown = progress
                if progress.phase.is_at_rest:
                    nursery.cancel_scope.cancel()
                    print_line(escape_control(ending(order, progress, documents, seconds)))
                    return 0 if progress.phase is Phase.SUCCEEDED else 1
            await changed.wait()


async def _read(session: Session) -> Documents:
    """Return the documents of the fleet as soon as the engine answers; report once that it does not."""
    is_away = False
    while True:
        try:
            return await session.read()
        except EngineAway as error:
            if not is_away:
                print_error(f"etcd is unavailable, and the rollout waits for it: {error}")
            is_away = True
        await trio.sleep(LOOK_SECONDS)


def _print_steps(lines: Iterable[str], seconds: float) -> None:
    for number, line in enumerate(lines):
        time_shown = f"{seconds:5.1f} s" if not line.startswith(" ") or number == 0 else " " * 7
        print_line(f"{time_shown}  {escape_control(line)}")


def _present(documents: Documents, order: Order) -> tuple[Order, Progress | None]:
    """Return the order as it is now, and its progress; both from the history if another one has followed."""
    if documents.order is not None and documents.order.id == order.id:
        is_begun = documents.progress is not None and documents.progress.order == order.id
        return documents.order, documents.progress if is_begun else None
    past = next((one for one in parse_history(documents.snapshot) if one.order.id == order.id), None)
    return (order, None) if past is None else (past.order, past.progress)


class _Changed:
    """The wait of the command: for a change in the engine, or for a second."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._event = trio.Event()

    async def run(self) -> None:
        """Watch the fleet until cancelled."""
        while True:
            try:
                snapshot = await self._session.engine.snapshot()
                self._event.set()
                await self._session.engine.wake(snapshot.revision, self._wake)
            except EngineAway:
                await trio.sleep(LOOK_SECONDS)

    def _wake(self, _keys: Sequence[str]) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Wait for the next change, or for a second."""
        with trio.move_on_after(LOOK_SECONDS):
            await self._event.wait()
        self._event = trio.Event()
