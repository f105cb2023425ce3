"""The hooks of deploys: commands before a launch, behind a switch and behind a failure.

``before_launch`` is a part of its deploy: it is waited for, its failure is the deploy's, and it goes no further
than the deploy.  The others come after the decision: they run one behind the other, no deploy waits for them,
and where they fail that is said and nothing else.  A stop ends whatever runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.seam import HookEnding
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from rainbowd.deploy.seam import HookCall, World
    from rainbowd.report.recorder import Recorder

log = get_logger()


class Hooks:
    """Runs them; each run is a task of the nursery that it is given, and ends there.

    Args:
        hurry: no more patience once this is set.
    """

    def __init__(self, world: World, recorder: Recorder, hurry: trio.Event) -> None:
        self._world = world
        self._recorder = recorder
        self._hurry = hurry
        self._turn = trio.Lock()
        self._stopping = trio.Event()

    async def before(self, call: HookCall, lives: trio.Nursery) -> None:
        """Run a hook and wait for its end; cancelled, the end comes soon and is waited for too.

        Raises:
            DeployFailed: it failed, with its output.
        """
        if not _is_given(call):
            return
        drop, over = trio.Event(), trio.Event()
        endings: list[HookEnding] = []

        async def run() -> None:
            try:
                endings.append(await self._run(call, drop))
            finally:
                over.set()

        lives.start_soon(run)
        try:
            await over.wait()
        except trio.Cancelled:
            drop.set()
            with trio.CancelScope(shield=True):  # bounded by kill_after: no two of them at once
                await over.wait()
            raise
        for ending in endings:
            if ending.failure is not None:
                raise DeployFailed(ending.failure, ending.output)

    def after(self, call: HookCall, lives: trio.Nursery) -> None:
        """Run a hook in its turn, without waiting for it."""
        if _is_given(call) and not self._stopping.is_set():
            lives.start_soon(self._run_in_turn, call)

    def stop(self) -> None:
        """End what runs behind a decision, and begin nothing more."""
        self._stopping.set()

    async def _run_in_turn(self, call: HookCall) -> None:
        async with self._turn:
            if not self._stopping.is_set():
                await self._run(call, self._stopping)

    async def _run(self, call: HookCall, drop: trio.Event) -> HookEnding:
        """One run, told in the journal whatever comes of it."""
        log.info("hook begins", hook=call.hook, deploy=call.deploy, release=call.plan.release)
        try:
            ending = await self._world.run_hook(call, drop, self._hurry)
        except Exception as bug:
            log.error("bug: a hook's run broke", exc_info=bug)
            ending = HookEnding(None, [], f"internal error: {bug!r}")
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
        )
        return ending


def _is_given(call: HookCall) -> bool:
    return getattr(call.plan.config.hooks, call.hook) is not None
