"""The deploys of one machine for its fleet, one after another.  Each is on disk before the fleet is informed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.fleet import local_record
from rainbowd.fleet.local_deploys import Result, Task
from rainbowd.fleet.local_record import OwnDeploy
from rainbowd.fleet.local_state import release_name, releases_directory
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.fleet.local_deploys import LocalDeploys
    from rainbowd.fleet.models import Order
    from rainbowd.fleet.view import Deploy

FIRST_RETRY_SECONDS = 5.0
LAST_RETRY_SECONDS = 300.0

log = get_logger()


class Work:
    """The deploys of this machine for the fleet, as tasks that the loop of the member does not wait for.

    Args:
        machine: deploys.
        state_dir: holds the record.
        releases: the configured directory of the releases; None for that of the live one.
        on_done: called when a task has ended.

    Attributes:
        record: what the machine remembers.
        prepared: the ``request`` of the last order whose release it tried to provide; None if it has tried none.
        unprepared: why that failed; None if it did not.
    """

    def __init__(
        self, machine: LocalDeploys, state_dir: Path, releases: Path | None, on_done: Callable[[], None]
    ) -> None:
        self.record = local_record.read(state_dir)
        self.prepared: str | None = None
        self.unprepared: str | None = None
        self._machine = machine
        self._state_dir = state_dir
        self._releases = releases
        self._on_done = on_done
        self._is_busy = False
        self._retry_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS

    @property
    def may_converge(self) -> bool:
        """Whether enough time has passed since the last failure."""
        return trio.current_time() >= self._retry_at

    @property
    def directory(self) -> Path | None:
        """The directory of the releases; None if it is not known yet."""
        return releases_directory(self._releases, self._machine.standing())

    def prepare(self, order: Order, nursery: trio.Nursery) -> None:
        """Provide the release of ``order``, as a task of ``nursery``; do nothing while another task runs."""
        if not self._is_busy:
            self._is_busy = True
            nursery.start_soon(self._prepare, order)

    def deploy(self, deploy: Deploy, order: Order, wave: int, nursery: trio.Nursery) -> None:
        """Deploy, as a task of ``nursery``; do nothing while another task runs.

        Args:
            deploy: the decision.
            order: the present order, for its author and its note.
            wave: the number of the wave, from 1.
            nursery: outlives the deploy, or an agent that takes over continues it.
        """
        if not self._is_busy:
            self._is_busy = True
            nursery.start_soon(self._deploy, deploy, order, wave)

    async def join(self, linked: str | None) -> None:
        """Count ``linked``, the release of the present link, as the fleet's own."""
        await self._save(self.record.join(linked))

    async def _prepare(self, order: Order) -> None:
        try:
            result = await self._provide(self._task(order.release, f"prepare-{order.id}", order, 1))
            self.prepared, self.unprepared = order.request, result.failure
        finally:
            self._finish()

    async def _deploy(self, deploy: Deploy, order: Order, wave: int) -> None:
        try:
            task = self._task(deploy.release, deploy.request, order, wave, deploy)
            result = await self._result(deploy, order, task)
            await self._save_outcome(result)
            self._count_failure(result)
        except OSError as error:
            log.error("cannot record a turn of the fleet", error=str(error))
            await trio.sleep(FIRST_RETRY_SECONDS)
        finally:
            self._finish()

    async def _result(self, deploy: Deploy, order: Order, task: Task | None) -> Result:
        """Return how the deploy ends, or has ended if an earlier agent began it."""
        standing, attempt = self._machine.standing(), self.record.attempt
        if task is not None and attempt is not None and attempt.request == deploy.request:
            before = None if attempt.before is None or self.directory is None else self.directory / attempt.before
            found = await self._machine.find_result(task, before)
            if found is not None:
                return found
        begun = OwnDeploy(
            request=deploy.request,
            order=deploy.order,
            ordered_by=order.request if order.id == deploy.order else None,
            release=deploy.release,
            is_revert=deploy.is_revert,
            before=release_name(standing.live or standing.linked, self.directory),
            generation=standing.generation,
        )
        try:
            await self._save(self.record.begin(begun))
        except OSError as error:
            self.record = self.record.begin(begun)
            return Result(f"cannot record the turn: {error}")
        provided = await self._provide(task)
        return provided if provided.failure is not None or task is None else await self._machine.deploy(task)

    def _task(self, release: str, request: str, order: Order, wave: int, deploy: Deploy | None = None) -> Task | None:
        """Return the task for the machine; None if it has no directory of releases yet."""
        if self.directory is None:
            return None
        is_rollback = order.rollback or (deploy is not None and deploy.is_revert)
        is_first = deploy is not None and deploy.is_first
        path = self.directory / release
        return Task(path, request, order.by, order.note, is_rollback, order.id, wave, is_first)

    async def _provide(self, task: Task | None) -> Result:
        """Check that the directory of a release exists; otherwise create it by the hook ``fetch``."""
        if task is None:
            return Result("there is no release here yet: set fleet.releases to the directory that contains them")
        if task.release.is_dir():
            return Result()
        fetched = await self._machine.fetch(task)
        if fetched.failure is None and not task.release.is_dir():
            return Result(f"fetch: {task.release} does not exist after the hook", fetched.output)
        return fetched

    def store_again(self) -> None:
        """Write the record once more, because the state directory was removed.

        Raises:
            OSError: it cannot be written.
        """
        local_record.write(self._state_dir, self.record)

    async def _save_outcome(self, result: Result) -> None:
        """Record how a deploy ended; a failure, which has changed nothing, also if there is no room on the disk.

        Raises:
            OSError: the record of a success cannot be written.
        """
        changed = self.record.finish(result.failure, result.output)
        try:
            await self._save(changed)
        except OSError as error:
            if result.failure is None:
                raise
            log.error("cannot record a failed turn of the fleet", error=str(error))
            self.record = changed

    async def _save(self, changed: local_record.Record) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(local_record.write, self._state_dir, changed)
        self.record = changed

    def _count_failure(self, result: Result) -> None:
        if result.failure is None:
            self._retry_seconds = FIRST_RETRY_SECONDS
            return
        self._retry_at = trio.current_time() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)

    def _finish(self) -> None:
        self._is_busy = False
        self._on_done()
