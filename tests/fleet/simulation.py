"""A fleet without an engine and without a clock: random interleavings of ``decide``, on views as old as can be.

Machines lose power and come back, are cut off from the engine, act on views that others have overtaken, and fail to
deploy; deployers pause and abort.  After every write the invariants of a rollout are checked.
"""

from __future__ import annotations

import collections
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rainbowd.fleet.decide import decide, wanted
from rainbowd.fleet.local_record import OwnDeploy, Record
from rainbowd.fleet.models import Order, Phase, Progress, State
from rainbowd.fleet.view import Decision, Deploy, Local, Prepare, Timer, View, Write, timers

if TYPE_CHECKING:
    from collections.abc import Callable

FOLLOWING = {
    Phase.PREPARING: {Phase.ROLLING, Phase.FAILED},
    Phase.ROLLING: {Phase.BAKING, Phase.ROLLING_BACK, Phase.HALTED},
    Phase.BAKING: {Phase.ROLLING, Phase.SUCCEEDED, Phase.ROLLING_BACK, Phase.HALTED},
    Phase.ROLLING_BACK: {Phase.ROLLED_BACK},
}
"""The legal changes of the phase within one order."""

TURNS = {
    None: {State.PREPARED, State.FAILED, State.CLAIMED},
    State.PREPARED: {State.CLAIMED},
    State.CLAIMED: {State.PREPARED, State.LIVE, State.FAILED, State.LOST, State.REVERTED},
    State.LIVE: {State.FAILED, State.LOST, State.REVERTING, State.REVERTED, State.CLAIMED},
    State.FAILED: {State.REVERTING, State.REVERTED, State.CLAIMED},
    State.LOST: {State.REVERTING, State.REVERTED, State.CLAIMED},
    State.REVERTING: {State.REVERTED, State.FAILED, State.LOST},
    State.REVERTED: {State.CLAIMED},
}
"""The legal changes of a member's turn; those from an ended one to ``claimed`` happen only at rest."""

TTL_SECONDS = 2.0
GRACE_SECONDS = 3.0
GAP_SECONDS = 5.0
STEPS = 3000
CALM = 2200
"""From this step on, nothing new breaks."""


class Broken(Exception):
    """An invariant does not hold."""


def require(is_kept: bool, *what: object) -> None:
    if not is_kept:
        raise Broken(*what)


@dataclass
class Machine:
    """A disk that stays, and an agent that comes and goes."""

    name: str
    bad: set[str]
    record: Record = field(default_factory=Record)
    release: str = "v1"
    is_up: bool = True
    is_cut: bool = False
    lease_until: float = 0.0
    prepared: str | None = None
    deploying: Deploy | None = None
    trouble: str | None = None
    seen: dict[Timer, float] = field(default_factory=dict)
    looked_at: float = 0.0
    held: tuple[dict[str, int], View] | None = None
    launches: collections.Counter[str] = field(default_factory=collections.Counter)
    crashes: int = 0

    def lose_power(self) -> None:
        self.is_up, self.deploying, self.held, self.prepared, self.trouble = False, None, None, None, None
        self.seen = {}
        self.crashes += 1


class Simulation:
    """One run; the same seed makes the same run."""

    def __init__(self, seed: int, decide: Callable[[View], Decision] = decide, *, is_guarded: bool = True) -> None:
        self.random = random.Random(seed)
        self.decide = decide
        self.is_guarded = is_guarded
        count = self.random.randint(1, 6)
        self.machines = {
            name: Machine(name, {r for r in ("v2", "v3") if self.random.random() < 0.12})
            for name in (f"m{index}" for index in range(count))
        }
        self.parallel = self.random.randint(1, 3)
        self.revisions = {"order": 0, "progress": 0}
        self.order: Order | None = None
        self.progress: Progress | None = None
        self.clock = 0.0
        self.requests = 0
        self.given_up: set[str | None] = set()
        self.counts: collections.Counter[str] = collections.Counter()

    def run(self) -> collections.Counter[str]:
        for step in range(STEPS):
            self.clock += self.random.random() * 0.2
            for machine in self.machines.values():
                if machine.is_up and not machine.is_cut:
                    machine.lease_until = self.clock + TTL_SECONDS
            if not self._disturb(step):
                self._act(self.random.choice(list(self.machines.values())))
        self._check_end()
        return self.counts

    # --- what happens to a fleet ----------------------------------------------------------------------------------

    def _disturb(self, step: int) -> bool:
        """Do something else than let a member act; return whether anything was done."""
        chance, machine = self.random.random(), self.random.choice(list(self.machines.values()))
        order, is_calm = self.order, step > CALM
        is_at_rest = order is None or (self._phase is not None and self._phase.is_at_rest)
        if is_at_rest and chance < 0.2 and (order is None or order.id < 4) and not is_calm:
            self._order()
        elif order is not None and not is_at_rest and chance < 0.003:
            self._put_order(order.model_copy(update={"paused": not order.paused and not is_calm}))
        elif order is not None and not is_at_rest and chance < 0.004:
            self._put_order(order.model_copy(update={"abort": "ann"}))
        elif chance < 0.006 and not is_calm:
            machine.lose_power()
        elif chance < 0.012 or (is_calm and chance < 0.1):
            machine.is_up, machine.is_cut = True, False
            if is_calm and order is not None and order.paused:
                self._put_order(order.model_copy(update={"paused": False}))
        elif chance < 0.015 and not is_calm:
            machine.is_cut = True
        elif chance > 0.97 and self._phase is Phase.BAKING and not is_calm:
            machine.trouble = "it crashed"
        else:
            return False
        return True

    def _order(self) -> None:
        names, self.waves = list(self.machines), []
        while names:
            size = self.random.choice([1, 1, 2, 3])
            self.waves.append(tuple(names[:size]))
            names = names[size:]
        if self._phase is not None:
            self.counts[self._phase] += 1
        self._put_order(
            Order(
                id=1 if self.order is None else self.order.id + 1,
                request=f"r{1 if self.order is None else self.order.id + 1}",
                release=self.random.choice(["v2", "v3", "v4"]),
                previous=wanted(self.order, self.progress),
                by="ann",
                at="",
                waves=tuple(self.waves),
                parallel=self.parallel,
                bake=1,
                max_failures=self.random.choice([0, 0, 1]),
                on_failure=self.random.choice(["rollback", "halt"]),
            )
        )
        for machine in self.machines.values():
            machine.trouble = None

    # --- a member -------------------------------------------------------------------------------------------------

    def _act(self, machine: Machine) -> None:
        if not machine.is_up:
            return
        if machine.deploying is not None:
            if self.random.random() < 0.3:
                self._finish(machine, machine.deploying)
            return
        if machine.is_cut:
            machine.held = None
        elif machine.held is None:
            machine.held = dict(self.revisions), self._view(machine)
        else:
            revisions, view = machine.held
            machine.held = None
            self._carry_out(machine, revisions, self.decide(view))

    def _view(self, machine: Machine) -> View:
        self.requests += 1
        local = Local(
            record=machine.record, release=machine.release, prepared=machine.prepared, trouble=machine.trouble
        )
        view = View(
            machine.name,
            self.order,
            self.progress,
            frozenset(one.name for one in self.machines.values() if one.lease_until > self.clock),
            local,
            GRACE_SECONDS,
            new_request=f"{machine.name}-{self.requests}",
        )
        is_gap = self.clock - machine.looked_at > GAP_SECONDS
        machine.seen = {timer: self.clock if is_gap else machine.seen.get(timer, self.clock) for timer in timers(view)}
        machine.looked_at = self.clock
        return replace(view, elapsed={timer: self.clock - since for timer, since in machine.seen.items()})

    def _carry_out(self, machine: Machine, revisions: dict[str, int], decision: Decision) -> None:
        match decision:
            case Write(progress):
                if revisions == self.revisions or not self.is_guarded:
                    self._put_progress(progress)
            case Prepare():
                machine.prepared = self.order.request if self.order is not None else None
            case Deploy():
                self._begin(machine, decision)

    def _begin(self, machine: Machine, deploy: Deploy) -> None:
        attempt = OwnDeploy(
            request=deploy.request,
            order=deploy.order,
            ordered_by=self.order.request if self.order is not None and self.order.id == deploy.order else None,
            release=deploy.release,
            is_revert=deploy.is_revert,
            before=machine.release,
        )
        machine.record = machine.record.begin(attempt)
        machine.deploying = deploy
        machine.launches[deploy.request] += 1
        require(machine.launches[deploy.request] <= 1 + machine.crashes, "launched too often", machine)
        self._check_deploys()

    def _finish(self, machine: Machine, deploy: Deploy) -> None:
        machine.deploying = None
        failure = f"{deploy.release} answered 500" if deploy.release in machine.bad else None
        if failure is None:
            machine.release, machine.trouble = deploy.release, None
        machine.record = machine.record.finish(failure)

    # --- the engine -----------------------------------------------------------------------------------------------

    @property
    def _phase(self) -> Phase | None:
        is_current = self.order is not None and self.progress is not None and self.progress.order == self.order.id
        return self.progress.phase if is_current and self.progress is not None else None

    def _put_order(self, order: Order) -> None:
        self.order = Order.parse("order", order.encode())
        self.revisions["order"] += 1

    def _put_progress(self, progress: Progress) -> None:
        self._check_change(progress)
        self.progress = Progress.parse("progress", progress.encode())
        self.given_up |= {turn.deploy for turn in progress.members.values() if turn.state is State.LOST}
        self.revisions["progress"] += 1
        self.counts["commits"] += 1
        self._check_progress()

    # --- invariants -----------------------------------------------------------------------------------------------

    def _check_progress(self) -> None:
        order, progress = self.order, self.progress
        assert order is not None
        assert progress is not None
        if progress.order != order.id:
            return
        require(len(progress.of(State.CLAIMED)) <= order.parallel, "too many have a turn", progress)
        if progress.phase in {Phase.ROLLING, Phase.BAKING}:
            early = {name for wave in order.waves[progress.wave + 1 :] for name in wave}
            begun = [name for name in progress.members if progress.members[name].state is not State.PREPARED]
            require(not early & set(begun), "a later wave has begun", progress)

    def _check_change(self, new: Progress) -> None:
        old = self.progress
        if old is None or old.order != new.order:
            require(old is None or (old.order < new.order and not old.busy), "a rollout began too early", old, new)
            return
        require(new.phase is old.phase or new.phase in FOLLOWING.get(old.phase, ()), "illegal phase", old, new)
        require(new.wave in {old.wave, old.wave + 1}, "illegal wave", old, new)
        require(old.members.keys() <= new.members.keys(), "a turn was forgotten", old, new)
        if new.phase is Phase.ROLLED_BACK and old.phase is Phase.ROLLING_BACK:
            self._check_return(new)
        changed = [name for name in new.members if new.members[name] != old.members.get(name)]
        require(len(changed) <= 1, "one write changed two turns", old, new)
        for name in changed:
            before = old.members[name].state if name in old.members else None
            require(new.members[name].state in TURNS[before], "illegal turn", old, new)
            if before in {State.LIVE, State.FAILED, State.LOST} and new.members[name].state is State.CLAIMED:
                require(new.phase.is_at_rest, "a second turn in one rollout", old, new)

    def _check_return(self, progress: Progress) -> None:
        """Fail if a rollout ends as rolled back while a member that is present has not even tried to go back."""
        for name, turn in progress.members.items():
            machine = self.machines[name]
            attempt = machine.record.attempt
            has_tried = attempt is not None and attempt.is_revert and attempt.order == progress.order
            is_left = machine.record.flipped == progress.order and machine.release != machine.record.before
            is_present = machine.lease_until > self.clock
            if turn.state in {State.LIVE, State.FAILED} and is_present and not has_tried:
                require(not is_left, "rolled back, but not everywhere", machine, progress)

    def _check_deploys(self) -> None:
        """Fail if more machines than may really deploy, except those that were given up."""
        forward = [
            one.name
            for one in self.machines.values()
            if one.deploying is not None and not one.deploying.is_revert and one.deploying.request not in self.given_up
        ]
        require(len(forward) <= self.parallel, "too many really deploy", forward, self.progress)

    def _check_end(self) -> None:
        if self.order is None:
            return
        require(self._phase is not None and self._phase.is_at_rest, "never came to rest", self.order, self.progress)
        release = wanted(self.order, self.progress)
        for machine in self.machines.values():
            is_settled = machine.release == release or release in machine.bad
            if self._phase is not Phase.HALTED and release is not None and machine.deploying is None:
                require(is_settled, f"did not converge to {release}", machine, self.order, self.progress)
        self.counts[str(self._phase)] += 1
