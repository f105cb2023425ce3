"""An engine in memory, on trio's virtual clock: every operation takes a while, and is counted."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Self

import trio

from rainbowd.fleet.engine import ABSENT, Snapshot, StoredValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OPERATION_SECONDS = 0.01


class Store:
    """What all members share.

    Attributes:
        counts: how often each operation was called, and how many writes were refused because a guard had changed.
    """

    def __init__(self) -> None:
        self.entries: dict[str, StoredValue] = {}
        self.revision = 1
        self.counts: collections.Counter[str] = collections.Counter()
        self.watchers: set[Callable[[Sequence[str]], None]] = set()

    def write(self, puts: Mapping[str, str | None]) -> None:
        self.revision += 1
        for key, value in puts.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = StoredValue(value, self.revision)
        for notify in list(self.watchers):
            notify(list(puts))


class MemoryEngine:
    """One client of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def snapshot(self) -> Snapshot:
        self._store.counts["snapshot"] += 1
        await trio.sleep(OPERATION_SECONDS / 2)
        found = Snapshot(self._store.revision, dict(self._store.entries))
        await trio.sleep(OPERATION_SECONDS / 2)
        return found

    async def commit(self, guards: Mapping[str, int], puts: Mapping[str, str | None]) -> bool:
        self._store.counts["commit"] += 1
        await trio.sleep(OPERATION_SECONDS / 2)
        now = Snapshot(self._store.revision, self._store.entries)
        is_kept = all(now.revision_of(key) == revision for key, revision in guards.items())
        if is_kept:
            self._store.write(puts)
        else:
            self._store.counts["conflict"] += 1
        await trio.sleep(OPERATION_SECONDS / 2)
        return is_kept

    async def presence(self, key: str, value: str, guard: int) -> bool:
        self._store.counts["presence"] += 1
        await trio.sleep(OPERATION_SECONDS)
        if guard == ABSENT:
            self._store.write({key: value})
        return True

    async def wake(self, revision: int, notify: Callable[[Sequence[str]], None]) -> None:
        self._store.watchers.add(notify)
        try:
            if self._store.revision == revision:
                await trio.sleep_forever()
        finally:
            self._store.watchers.discard(notify)
