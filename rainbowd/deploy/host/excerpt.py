"""The beginning and the end of a process's output, for the report of a failure.

The cause of a failed start is often in the first lines, and health checks may fill any number of lines after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

FIRST_LINES = 20
LAST_LINES = 50
_UNFOLDED_TIMES = 2


@dataclass
class _Line:
    text: str
    times: int = 1

    def shown(self) -> list[str]:
        if self.times <= _UNFOLDED_TIMES:
            return [self.text] * self.times
        return [self.text, f"… this line {self.times - 1} more times …"]


class Excerpt:
    """The first 20 and the last 50 lines; one that is repeated counts once."""

    def __init__(self) -> None:
        self._first: list[_Line] = []
        self._last: deque[_Line] = deque()
        self._omitted_lines = 0

    def add(self, text: str) -> None:
        """Add the next line, given without its end."""
        newest = self._last or ([] if self._omitted_lines else self._first)
        if newest and newest[-1].text == text:
            newest[-1].times += 1
        elif len(self._first) < FIRST_LINES:
            self._first.append(_Line(text))
        else:
            self._last.append(_Line(text))
            if len(self._last) > LAST_LINES:
                self._omitted_lines += self._last.popleft().times

    def leave_out(self, count: int) -> None:
        """Count the next ``count`` lines as omitted; at least 50 other lines must be added directly after."""
        if count:
            self._omitted_lines += count + sum(line.times for line in self._last)
            self._last.clear()

    def lines(self) -> list[str]:
        """Return the lines, oldest first; a line such as ``… 190 lines …`` stands for the omitted ones."""
        omitted = [f"… {self._omitted_lines} lines …"] if self._omitted_lines else []
        first, last = ([shown for line in part for shown in line.shown()] for part in (self._first, self._last))
        return [*first, *omitted, *last]
