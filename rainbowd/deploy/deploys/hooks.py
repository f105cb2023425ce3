"""The hooks of deploys: commands before a launch, behind a switch and behind a failure.

``before_launch`` is a part of its deploy: it is waited for, its failure is the deploy's, and it goes no further
than the deploy.  The others come after the decision: they run one behind the other, no deploy waits for them,
and where they fail that is said and nothing else.  A stop ends whatever runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.interfaces import HookCall, HookResult, LaunchPlan
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.address import Address
    from rainbowd.config import Config
    from rainbowd.deploy.interfaces import HookName, Host
    from rainbowd.deploy.verdicts import Deploy
    from rainbowd.report.recorder import Recorder

log = get_logger()


class HookRunner:
    """Runs them.

    Args:
        hurry: no more patience once this is set.
    """

    def __init__(self, world: Host, recorder: Recorder, hurry: trio.Event) -> None:
        self._world = world
        self._recorder = recorder
        self._hurry = hurry
        self._turn = trio.Lock()
        self._stopping = False
        self._drop = trio.Event()
        self._waiting = 0

    @property
    def are_due(self) -> bool:
        """Whether one runs behind a decision, or is to."""
        return self._waiting > 0

    async def before(self, call: HookCall, tell: Callable[[str], None]) -> None:
        """Run a hook and wait for its end; cancelled, the end comes soon and is waited for too.

        Args:
            call: which hook, and what it is given.
            tell: is given each line that it writes, as it comes; must not block.

        Raises:
            DeployFailed: it failed, with its output.
        """
        if _is_given(call):
            ending = await self._run(call, trio.Event(), tell)
            if ending.failure is not None:
                raise DeployFailed(ending.failure, ending.output)

    def after(self, call: HookCall | None, lives: trio.Nursery) -> None:
        """Run a hook, if there is one, in its turn as a task of ``lives``, without waiting for it."""
        if call is not None and _is_given(call) and not self._stopping:
            self._waiting += 1
            lives.start_soon(self._run_in_turn, call)

    def stop(self) -> None:
        """End what runs behind a decision, and begin nothing more."""
        self._stopping = True
        self._drop.set()

    async def _run_in_turn(self, call: HookCall) -> None:
        try:
            async with self._turn:
                if not self._stopping:
                    self._drop = trio.Event()
                    await self._run(call, self._drop, _nowhere)
        finally:
            self._waiting -= 1

    async def _run(self, call: HookCall, drop: trio.Event, tell: Callable[[str], None]) -> HookResult:
        """One run to its end; cancelled, it is dropped, so that nothing of it is left when this returns."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_set_when_cancelled, drop)
                with trio.CancelScope(shield=True):  # bounded by the hook's time and kill_after
                    ending = await self._carry_out(call, drop, tell)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup:  # of nothing but Cancelled, which callers expect alone
            await trio.lowlevel.checkpoint_if_cancelled()
            raise
        return ending

    async def _carry_out(self, call: HookCall, drop: trio.Event, tell: Callable[[str], None]) -> HookResult:
        """Run it, and tell the journal whatever comes of it."""
        log.info("hook begins", hook=call.hook, deploy=call.deploy, release=call.plan.release)
        begun_at = trio.current_time()
        try:
            ending = await self._world.run_hook(call, drop, self._hurry, tell)
        except Exception as bug:
            log.error("bug: a hook's run broke", exc_info=bug)
            ending = HookResult(None, [], f"internal error: {bug!r}")
        seconds = round(trio.current_time() - begun_at, 3)
        log.info("hook ended", hook=call.hook, deploy=call.deploy, exit_status=ending.exit_status, seconds=seconds)
        if ending.failure is not None:
            log.warning("a hook failed", hook=call.hook, deploy=call.deploy, why=ending.failure, output=ending.output)
        self._recorder.record(
            "hook.ended",
            generation=call.generation,
            release=call.release,
            deploy=call.deploy,
            hook=call.hook,
            exit_status=ending.exit_status,
            output=ending.output,
            reason=ending.failure,
            seconds=seconds,
        )
        return ending


def _nowhere(line: str) -> None:
    """Drop a line of a hook that nobody waits for; its last lines are reported when it has ended."""


async def _set_when_cancelled(event: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        event.set()


def hook_call(
    hook: HookName, deploy: Deploy, plan: LaunchPlan, *, address: Address | None = None, reason: str | None = None
) -> HookCall:
    """A run of ``plan``'s hook for ``deploy``; the rest as in ``HookCall``."""
    return HookCall(
        hook=hook,
        plan=plan,
        deploy=deploy.id,
        generation=deploy.generation,
        address=address,
        release=plan.release,
        previous_release=deploy.previous.release if deploy.previous is not None else None,
        trigger=deploy.trigger,
        note=deploy.note,
        is_rollback=deploy.is_rollback,
        reason=reason,
    )


def after_failure(deploy: Deploy, reason: str, named: Path | None, config: Config) -> HookCall | None:
    """The hook of a deploy that failed; where it never came to a plan, by what was live or is named.

    Args:
        deploy: what failed.
        reason: why.
        named: the release that the files name; None for none.
        config: the last good one.

    Returns:
        None where there is no release to run it in.
    """
    if deploy.plan is not None:
        return hook_call("after_failure", deploy, deploy.plan, reason=reason)
    plan = deploy.previous or (LaunchPlan(named, config, {}) if named is not None else None)
    if plan is None:
        return None
    return replace(hook_call("after_failure", deploy, plan, reason=reason), release=named)


def _is_given(call: HookCall) -> bool:
    return getattr(call.plan.config.hooks, call.hook) is not None
