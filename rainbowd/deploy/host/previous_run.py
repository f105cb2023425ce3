"""The files and processes of the previous agent: the half of ``Host`` that reads them."""

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
from rainbowd.deploy.interfaces import LaunchPlan, LeftGeneration
from rainbowd.deploy.process import Launch, LaunchMarks, end_leftovers, find_leftovers, remove_left_cgroups
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
    """Finds the records, processes and files of earlier agents.

    Args:
        file: the config file.
        loaded: what it said at the start.
        numbers: the generations'; those given out by now are of before.
        keep: makes bytes the content of a file in the state directory, None removes it; must not block.
    """

    def __init__(
        self, file: Path, loaded: LoadedConfig, numbers: GenerationIds, keep: Callable[[str, bytes | None], None]
    ) -> None:
        self._file = file
        self._loaded = loaded
        self._numbers = numbers
        self._keep = keep
        self._state_dir = Path(os.path.realpath(loaded.config.state_dir))  # one spelling: it marks processes as ours
        self._ports_in_use: set[int] = set()
        self._records: dict[int, GenerationRecord] = {}
        self._launched: dict[int, Launched] = {}
        self._last_left = 0
        self._memory: DeployMemory | None = None

    def recall(self) -> DeployMemory:
        """Return what the previous agent stored."""
        return read_memory(self._state_dir)

    def remember(self, memory: DeployMemory) -> None:
        """Store ``memory`` for the next agent."""
        self._memory = memory
        self._keep(MEMORY_NAME, memory.encode())

    def left(self) -> list[LeftGeneration]:
        """Return the generations that an earlier agent recorded; their ports count as used from now on."""
        self._numbers.refresh()
        self._records, self._last_left = read_records(self._state_dir), self._numbers.last
        return [self._left(number, record) for number, record in self._records.items()]

    def _left(self, number: int, record: GenerationRecord) -> LeftGeneration:
        address = parse_address(record.identity.address)
        if isinstance(address, TcpAddress):
            self._ports_in_use.add(address.port)
        launched = read_plan(GenerationFiles(self._state_dir, number).source, self._file)
        if launched is None:
            log.warning("launched by a config that is lost; the present one counts", generation=number)
            launched = Launched(self._loaded.config, dict(self._loaded.source), {})
        self._launched[number] = launched
        return LeftGeneration(
            number=number,
            plan=LaunchPlan(Path(record.identity.release), launched.config, launched.env_file, launched.source),
            state=record.state,
            for_seconds=max(0.0, time.monotonic() - record.since_seconds),
            started_at=record.started_at,
            live_at=record.live_at,
        )

    async def undecided(self) -> UndecidedDeploys:
        """Return the deploys and generations of earlier agents whose end is missing from the journal."""
        return await trio.to_thread.run_sync(read_undecided, self._state_dir, self._last_left)

    def marks_of(self, number: int) -> LaunchMarks:
        """Return what the processes of a generation on record are recognized by."""
        launched = self._launched[number]
        return launched.marks or LaunchMarks(account_uid(launched.config))

    async def find_strays(self, spared: Collection[int]) -> Leftovers:
        """Find the processes that an earlier agent launched, and that are of none of the generations ``spared``."""
        launches = [
            Launch.of(record.identity, self.marks_of(number), record.known.items())
            for number, record in self._records.items()
            if number in spared
        ]
        uids = {account_uid(self._loaded.config)}
        return await trio.to_thread.run_sync(find_leftovers, self._state_dir, launches, uids)

    async def end_strays(self, strays: Leftovers, hurry: trio.Event) -> None:
        """End ``strays``, then remove the files of generations without a record, and control groups that are empty."""
        if strays.known:
            log.warning("ending what an earlier agent has left", pids=sorted(strays.known))
            patience_seconds = self._loaded.config.drain.kill_after
            left, why = await end_leftovers(strays, patience_seconds=patience_seconds, hurry=hurry)
            if left:
                log.error("processes could not be ended", pids=left, reason=why)
        clear = partial(clear_all_but, self._state_dir, set(self._records), self._last_left)
        await trio.to_thread.run_sync(clear, abandon_on_cancel=True)
        await trio.to_thread.run_sync(remove_left_cgroups)


def account_uid(config: Config) -> int:
    """Return the uid of the account that apps are launched as: the agent's, unless it is root and has a ``user``."""
    try:
        account = find_account(config.user, config.group)
    except ConfigError:  # removed since
        account = None
    return os.geteuid() if account is None or os.geteuid() != ROOT else account.uid
