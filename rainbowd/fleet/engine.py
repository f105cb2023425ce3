"""The engine of a fleet: the four operations that its store must have, and their errors.

A second engine would be one more module with these operations, and nothing else would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rainbowd.errors import RainbowdError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ABSENT = 0
"""The revision of a key that does not exist."""


class EngineError(RainbowdError):
    """A failed operation of the engine; the message has the reason."""

    exit_status = 3


class EngineAway(EngineError):
    """No endpoint of the engine answered in time, or none has a quorum."""


class EngineRefused(EngineError):
    """The engine refused the user, the password or the operation."""

    exit_status = 3


class PermissionDenied(EngineRefused):
    """The engine knows the user, who has no right to do this."""

    exit_status = 1


@dataclass(frozen=True)
class StoredValue:
    """A value, and the revision in which it was written last."""

    value: str
    revision: int


@dataclass(frozen=True)
class Snapshot:
    """All keys of one fleet at one revision.

    Attributes:
        revision: of the engine.
        entries: by key, without the fleet's prefix.
    """

    revision: int
    entries: Mapping[str, StoredValue]

    def revision_of(self, key: str) -> int:
        """Return the revision of a key; ``ABSENT`` if it does not exist."""
        entry = self.entries.get(key)
        return ABSENT if entry is None else entry.revision

    def names(self, directory: str) -> list[str]:
        """Return the rest of each key that begins with ``directory``, sorted."""
        return sorted(key.removeprefix(directory) for key in self.entries if key.startswith(directory))


class Engine(Protocol):
    """A consistent store that the members share; every operation can raise ``EngineError``."""

    async def snapshot(self) -> Snapshot:
        """Return all keys, as a majority of the engine knows them."""

    async def commit(self, guards: Mapping[str, int], puts: Mapping[str, str | None]) -> bool:
        """Write several keys in one transaction, if none of the guards has changed.

        Args:
            guards: the revision that each key must still have.
            puts: the new value of each key; None deletes it.

        Returns:
            Whether it was written.
        """

    async def presence(self, key: str, value: str, guard: int) -> bool:
        """Keep a key for as long as this is called often enough.

        Args:
            key: the key; it vanishes when the calls end.
            value: of the key.
            guard: the last known revision of the key, which it must still have if this call writes it; with
                ``ABSENT``, this call writes it.

        Returns:
            Whether the key is kept; False if someone else has written it.
        """

    async def wake(self, revision: int, notify: Callable[[Sequence[str]], None]) -> None:
        """Call ``notify`` with the keys of each later change; return as soon as changes could be missed.

        Args:
            revision: of the last snapshot.
            notify: must not block.
        """
