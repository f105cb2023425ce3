"""The deploys of this agent for its fleet; imported only if ``fleet`` is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd import release_link
from rainbowd.deploy.deploys.hooks import HookRunner
from rainbowd.deploy.hook_call import HookCall
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.rollout_part import RolloutPart
from rainbowd.deploy.watch.file_state import escaped
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import Declined, DeployFailed, UsageError
from rainbowd.fleet.etcd import Etcd
from rainbowd.fleet.local_deploys import Result, Standing, Task
from rainbowd.fleet.machine_id import machine_id
from rainbowd.fleet.member import Member
from rainbowd.log import get_logger
from rainbowd.report.history import RESULTS
from rainbowd.report.journal import read_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.service import DeployService
    from rainbowd.report.journal import Event

log = get_logger()


class FleetDeploys:
    """The deploys of this agent, as its fleet needs them.

    Args:
        deploys: the present service.
        config: at the agent's start.
    """

    def __init__(self, deploys: DeployService, config: Config) -> None:
        self._deploys = deploys
        self._roster = deploys.context.roster
        self._recorder = deploys.context.recorder
        self._config = config
        self._hooks = HookRunner(deploys.context)

    def standing(self) -> Standing:
        """Return what runs on this machine now."""
        live, crashes = self._roster.live, self._deploys.supervisor.snapshot().crashes
        is_link = self._config.release.is_symlink()
        return Standing(
            live=None if live is None else live.release,
            linked=self._config.release.resolve() if is_link else None,
            generation=None if live is None else live.id,
            requests=0 if live is None else live.requests,
            errors=0 if live is None else live.errors,
            crash=None if crashes is None else crashes.reason,
        )

    async def deploy(self, task: Task) -> Result:
        """Deploy as ``rainbowd deploy`` does, and restore the link if that fails."""
        trigger = Trigger(
            kind="fleet",
            note=escaped(task.note) if task.note else None,
            by=escaped(task.by),
            request=task.request,
            is_rollback=task.is_rollback,
            rollout=RolloutPart(task.rollout, task.wave, task.is_first),
        )
        try:
            requested = await self._deploys.deploy(task.release.resolve(), trigger)
        except Declined as error:
            return Result(str(error))
        outcome = await requested.outcome()
        failure = outcome.reason or "failed" if outcome.result == "failed" else None
        if failure is None and outcome.release is not None and outcome.release != task.release.resolve():
            failure = f"superseded by {outcome.release}, which is live"
        return Result(failure, tuple(outcome.output))

    async def find_result(self, task: Task, before: Path | None) -> Result | None:
        """Return how a deploy ends that an earlier agent began; None if it did not begin, or its end is unknown."""
        result = None
        while result is None:
            await self._deploys.until_idle()
            await self._recorder.settle()
            events = await trio.to_thread.run_sync(lambda: list(read_events(self._config.state_dir, "deploy.")))
            result = find_result(events, task.request, str(task.release.resolve()))
            baking = self._deploys.supervisor.deploying
            if baking is None or not has_begun(events, task.request, baking.id):
                break
            await baking.finished.wait()
        if result is not None and result.failure is not None and before is not None:
            await trio.to_thread.run_sync(self._restore, task.release.resolve(), before)
        return result

    async def fetch(self, task: Task) -> Result:
        """Run the ``fetch`` hook, which creates the directory of the release."""
        config = self._deploys.supervisor.config
        if config.hooks.fetch is None:
            return Result(f"{task.release} does not exist, and there is no hook `fetch`")
        call = HookCall(
            hook="fetch",
            plan=LaunchPlan(task.release.parent, config, {}),
            deploy=task.request,
            generation=None,
            address=None,
            release=task.release,
            previous_release=None,
            trigger="fleet",
            note=escaped(task.note) if task.note else None,
            is_rollback=task.is_rollback,
            rollout=RolloutPart(task.rollout, task.wave, task.is_first),
        )
        try:
            await self._hooks.run(call, lambda _: None)
        except DeployFailed as error:
            return Result(error.reason, tuple(error.output))
        return Result()

    def record(self, event: str, **fields: object) -> None:
        """Write an event to the journal."""
        self._recorder.record(event, **fields)

    def _restore(self, failed: Path, before: Path) -> None:
        """Point the link back, as the agent that began the deploy would have done."""
        if self._config.release.resolve() == failed and before.is_dir():
            try:
                release_link.repoint(self._config.release, before)
            except UsageError as error:
                log.warning("cannot restore the link after a failed deploy", error=str(error))


def find_result(events: list[Event], request: str, release: str) -> Result | None:
    """Return how the deploy of a request ended: by its own outcome, or by a later one of the same release.

    Args:
        events: of the journal, oldest first.
        request: the id of the request.
        release: what it deployed.
    """
    begun = next((index for index, event in enumerate(events) if event.get("request") == request), None)
    if begun is None:
        return None
    deploy = events[begun].get("deploy")
    decisions = [event for event in events[begun:] if str(event["event"]) in RESULTS]
    ours = [event for event in decisions if event.get("release") == release and not _is_cut_short(event)]
    decision = next((event for event in ours if event.get("deploy") == deploy), ours[-1] if ours else None)
    if decision is None:
        return None
    output = decision.get("output")
    lines = tuple(str(line) for line in output) if isinstance(output, list) else ()
    failure = str(decision.get("reason") or "failed") if decision["event"] == "deploy.failed" else None
    return Result(failure, lines)


def has_begun(events: list[Event], request: str, deploy: str) -> bool:
    """Return whether ``deploy`` is the deploy of a request.

    Args:
        events: of the journal.
        request: the id of the request.
        deploy: the id of a deploy.
    """
    return any(event.get("request") == request and event.get("deploy") == deploy for event in events)


def _is_cut_short(event: Event) -> bool:
    """Return whether the agent ended before the deploy had an outcome of its own."""
    return event["event"] == "deploy.failed" and str(event.get("reason")).startswith("interrupted: ")


def make_member(machine: FleetDeploys, config: Config, on_change: Callable[[], None]) -> Member:
    """Return this machine's part in its fleet.

    Args:
        machine: deploys.
        config: with ``fleet``.
        on_change: called when the member's status has changed.
    """
    settings = config.fleet
    assert settings is not None
    return Member(
        settings,
        lambda: Etcd(settings),
        machine,
        config.state_dir,
        machine_id=machine_id(config.state_dir),
        on_change=on_change,
    )
