"""The state directory as the previous agent left it: its records, its memory, and the processes that it launched."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.address import TcpAddress, parse_address
from rainbowd.config import find_account
from rainbowd.config.account import ROOT
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.state_files import (
    MEMORY_NAME,
    Launched,
    clear_all_but,
    read_memory,
    read_plan,
    read_records,
    read_undecided,
)
from rainbowd.deploy.host.stored_companions import StoredCompanions
from rainbowd.deploy.interfaces import RecordedGeneration
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.process import Launch, LaunchMarks, ProcessTree, end_leftovers, find_leftovers, remove_left_cgroups
from rainbowd.errors import ConfigError
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rainbowd.config import Config, LoadedConfig
    from rainbowd.deploy.interfaces import UndecidedDeploys
    from rainbowd.deploy.process import Leftovers
    from rainbowd.deploy.records import DeployMemory, GenerationRecord
    from rainbowd.report.generation_ids import GenerationIds

log = get_logger()


class PreviousRun:
    """The records, processes and files of earlier agents.

    Args:
        file: the config file.
        loaded: its content at the start.
        generation_ids: the ids handed out so far belong to earlier agents.
        ports_in_use: gets the ports of the generations on record.
        store: queues the content of a file in the state directory, encoded when it is written; None removes it.

    Attributes:
        companions: the records of companion processes.
        state_dir: the state directory in its one spelling without symlinks, which marks the agent's processes.
    """

    def __init__(
        self,
        file: Path,
        loaded: LoadedConfig,
        *,
        generation_ids: GenerationIds,
        ports_in_use: set[int],
        store: Callable[[str, Callable[[], bytes] | None], None],
    ) -> None:
        self.state_dir = Path(os.path.realpath(loaded.config.state_dir))
        self.companions = StoredCompanions(self.state_dir, file)
        self._file = file
        self._loaded = loaded
        self._generation_ids = generation_ids
        self._ports_in_use = ports_in_use
        self._store = store
        self._records: dict[int, GenerationRecord] = {}
        self._launched: dict[int, Launched] = {}
        self._last_left = 0
        self._memory: DeployMemory | None = None

    def read_memory(self) -> DeployMemory:
        """Return what the previous agent stored."""
        self._memory = read_memory(self.state_dir)
        return self._memory

    def store_memory(self, memory: DeployMemory) -> None:
        """Store ``memory`` for the next agent."""
        self._memory = memory
        self.store_again()

    def store_again(self) -> None:
        """Store the memory of this agent once more, because the file is gone."""
        if self._memory is not None:
            self._store(MEMORY_NAME, self._memory.encode)

    def recorded_generations(self) -> list[RecordedGeneration]:
        """Return the generations that an earlier agent recorded; their ports count as used from now on."""
        self._generation_ids.refresh()
        self._records, self._last_left = read_records(self.state_dir), self._generation_ids.last
        return [self._describe(generation_id, record) for generation_id, record in self._records.items()]

    def _describe(self, generation_id: int, record: GenerationRecord) -> RecordedGeneration:
        address = parse_address(record.identity.address)
        if isinstance(address, TcpAddress):
            self._ports_in_use.add(address.port)
        launched = read_plan(GenerationFiles(self.state_dir, generation_id).source, self._file)
        if launched is None:
            log.warning("launched by a config that is lost; the present one counts", generation=generation_id)
            launched = Launched(self._loaded.config, dict(self._loaded.source), {})
        self._launched[generation_id] = launched
        return RecordedGeneration(
            id=generation_id,
            plan=LaunchPlan(Path(record.identity.release), launched.config, launched.env_file, launched.source),
            state=record.state,
            for_seconds=max(0.0, time.monotonic() - record.since_seconds),
            started_at=record.started_at,
            live_at=record.live_at,
        )

    async def undecided_deploys(self) -> UndecidedDeploys:
        """Return the deploys and generations of earlier agents whose end is missing from the journal."""
        return await trio.to_thread.run_sync(read_undecided, self.state_dir, self._last_left)

    def processes_of(self, generation_id: int) -> tuple[ProcessTree, GenerationRecord]:
        """Return the processes of a generation on record, and the record."""
        record = self._records[generation_id]
        return ProcessTree.found(record.identity, self._marks_of(generation_id), record.known), record

    def _marks_of(self, generation_id: int) -> LaunchMarks:
        """Return what the processes of a generation on record are recognized by."""
        launched = self._launched[generation_id]
        return launched.marks or LaunchMarks(account_uid(launched.config))

    async def find_leftovers(self, spared: Collection[int]) -> Leftovers:
        """Find processes that earlier agents launched and that belong to none of the generations ``spared``."""
        launches = [
            Launch.of(record.identity, self._marks_of(generation_id), record.known.items())
            for generation_id, record in self._records.items()
            if generation_id in spared
        ]
        launches += self.companions.launches()
        uids = {account_uid(self._loaded.config)}
        return await trio.to_thread.run_sync(find_leftovers, self.state_dir, launches, uids)

    async def end_leftovers(self, leftovers: Leftovers, stop_now: trio.Event) -> None:
        """End ``leftovers``, then remove the files of generations without a record, and empty control groups."""
        if leftovers.known:
            log.warning("ending what an earlier agent has left", pids=sorted(leftovers.known))
            patience_seconds = self._loaded.config.drain.kill_after
            left, reason = await end_leftovers(leftovers, patience_seconds=patience_seconds, stop_now=stop_now)
            if left:
                log.error("processes could not be ended", pids=left, reason=reason)
        clear = partial(clear_all_but, self.state_dir, set(self._records), self._last_left)
        await trio.to_thread.run_sync(clear, abandon_on_cancel=True)
        await trio.to_thread.run_sync(self.companions.clear_stale, abandon_on_cancel=True)
        await trio.to_thread.run_sync(remove_left_cgroups)


def account_uid(config: Config) -> int:
    """Return the uid of the account that apps are launched as: the agent's, unless it is root and has a ``user``."""
    try:
        account = find_account(config.user, config.group)
    except ConfigError:  # removed since
        account = None
    return os.geteuid() if account is None or os.geteuid() != ROOT else account.uid
