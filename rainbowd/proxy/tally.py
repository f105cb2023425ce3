"""A number that several processes count together, each its own part, in memory that they share."""

from __future__ import annotations


class Tally:
    """The parts of a number, one for each process.

    A process reads the parts of the others without a lock.  So if several processes count at the same moment, a limit
    can be exceeded by one for each of the others.

    Args:
        parts: the parts; None if this process counts alone.
        own: the index of this process's part.
    """

    __slots__ = ("_own", "_parts")

    def __init__(self, parts: memoryview | None = None, own: int = 0) -> None:
        self._parts = parts
        self._own = own

    def set(self, count: int) -> None:
        """Set the part of this process to ``count``."""
        if self._parts is not None:
            self._parts[self._own] = count

    def total(self, own: int) -> int:
        """Return the sum of all parts, of which ``own`` is that of this process."""
        if self._parts is None:
            return own
        return sum(self._parts) - self._parts[self._own] + own
