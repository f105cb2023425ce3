"""The hooks of deploys: commands that run before a launch, after a switch and after a failure.

``before_launch`` is a part of its deploy: the deploy waits for it, fails with it, and stops it if it is stopped itself.
The other hooks run after the outcome, one after another. No deploy waits for them, and a failure of theirs is only
reported. A stop of the agent ends the hook that runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.cancellation import set_when_cancelled
from rainbowd.deploy.hook_call import HookCall, HookResult
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.address import Address
    from rainbowd.config import Config
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.hook_call import HookName

log = get_logger()


class HookRunner:
    """The runs of all hooks.

    Args:
        context: see ``DeployContext``.
    """

    def __init__(self, context: DeployContext) -> None:
        self._context = context
        self._one_at_a_time = trio.Lock()
        self._is_stopping = False
        self._cancel_current = trio.Event()
        self._pending = 0

    @property
    def has_pending(self) -> bool:
        """Whether a hook runs, or waits to run, after an outcome."""
        return self._pending > 0

    async def run(self, call: HookCall, on_line: Callable[[str], None]) -> None:
        """Run a hook and wait for its end; a cancellation stops the hook, and waits for its end too.

        Args:
            call: which hook, and the environment that it gets.
            on_line: called with each line of its output; must not block.

        Raises:
            DeployFailed: the hook failed; with its output.
        """
        if _is_configured(call):
            result = await self._run(call, trio.Event(), on_line)
            if result.failure is not None:
                raise DeployFailed(result.failure, result.output)

    def run_later(self, call: HookCall | None) -> None:
        """Run a hook after those that were requested before, without waiting for it.

        Args:
            call: which hook, and the environment that it gets; None for no hook.
        """
        if call is not None and _is_configured(call) and not self._is_stopping:
            self._pending += 1
            self._context.nursery.start_soon(self._run_in_turn, call)

    def stop(self) -> None:
        """Stop the hook that runs after an outcome, and start no other."""
        self._is_stopping = True
        self._cancel_current.set()

    async def _run_in_turn(self, call: HookCall) -> None:
        try:
            async with self._one_at_a_time:
                if not self._is_stopping:
                    self._cancel_current = trio.Event()
                    await self._run(call, self._cancel_current, _ignore)
        finally:
            self._pending -= 1

    async def _run(self, call: HookCall, cancel: trio.Event, on_line: Callable[[str], None]) -> HookResult:
        """Run a hook to its end; a cancellation stops it, so that no process of it is left when this returns."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(set_when_cancelled, cancel)
                with trio.CancelScope(shield=True):  # bounded by the hook's timeout and kill_after
                    result = await self._run_and_record(call, cancel, on_line)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup:  # of nothing but Cancelled, which callers expect alone
            await trio.lowlevel.checkpoint_if_cancelled()
            raise
        return result

    async def _run_and_record(self, call: HookCall, cancel: trio.Event, on_line: Callable[[str], None]) -> HookResult:
        """Run a hook, and write its result to the log and the journal."""
        log.info("hook begins", hook=call.hook, deploy=call.deploy, release=call.plan.release)
        begun_at = trio.current_time()
        try:
            result = await self._context.host.launcher.run_hook(call, cancel, self._context.stop_now, on_line)
        except Exception as bug:
            log.error("bug: a hook's run broke", exc_info=bug)
            result = HookResult(None, [], f"internal error: {bug!r}")
        seconds = round(trio.current_time() - begun_at, 3)
        log.info("hook ended", hook=call.hook, deploy=call.deploy, exit_status=result.exit_status, seconds=seconds)
        if result.failure is not None:
            log.warning("hook failed", hook=call.hook, deploy=call.deploy, reason=result.failure, output=result.output)
        self._context.recorder.record(
            "hook.ended",
            generation=call.generation,
            release=call.release,
            deploy=call.deploy,
            hook=call.hook,
            exit_status=result.exit_status,
            output=result.output,
            reason=result.failure,
            seconds=seconds,
        )
        return result


def _ignore(line: str) -> None:
    """Drop a line of a hook that no deploy waits for: its last lines are reported when it has ended."""


def hook_call(
    hook: HookName, deploy: Deploy, plan: LaunchPlan, *, address: Address | None = None, reason: str | None = None
) -> HookCall:
    """Return the call of one of the hooks of ``plan`` for ``deploy``.

    Args:
        hook: the hook's key in the config.
        deploy: the deploy that it runs for.
        plan: has the hook's command, and the release that it runs in.
        address: where the new generation is reached; None if it is not.
        reason: why the deploy failed; None if it did not.
    """
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
        rollout=deploy.rollout,
    )


def after_failure_call(deploy: Deploy, reason: str, named: Path | None, config: Config) -> HookCall | None:
    """Return the call of ``after_failure`` for a deploy that has failed.

    If the deploy failed before it had a plan, the hook runs in the release that was live, or else in the one named.

    Args:
        deploy: the deploy that has failed.
        reason: why it failed.
        named: the release that the files name; None if they name none.
        config: the last config that was valid.

    Returns:
        None if there is no release to run the hook in.
    """
    if deploy.plan is not None:
        return hook_call("after_failure", deploy, deploy.plan, reason=reason)
    plan = deploy.previous or (LaunchPlan(named, config, {}) if named is not None else None)
    if plan is None:
        return None
    return replace(hook_call("after_failure", deploy, plan, reason=reason), release=named)


def _is_configured(call: HookCall) -> bool:
    return getattr(call.plan.config.hooks, call.hook) is not None
