"""A deploy as it happens, on stdout: plain lines in a pipe or a CI log, with colours and a clock on a terminal."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from rainbowd.cli.terminal import (
    DIM,
    YELLOW,
    escape_control,
    generation_style,
    is_coloured,
    painter,
    print_line,
    printable,
)
from rainbowd.report.history import DECISIONS
from rainbowd.report.sentences import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from rainbowd.report.journal import Event

REPEAT_SECONDS = 10.0
"""How often a pipe gets a line while nothing new happens: the deployer is to see that something is waited for."""
SHOWN_MAX = 10_000
"""How many lines are remembered as shown."""


class Progress(Protocol):
    """Is given what happens, in order."""

    @property
    def shown(self) -> AbstractSet[str]:
        """The legible lines of output that were shown."""

    def event(self, event: Event) -> None:
        """Show a step of the journal."""

    def output(self, source: int | str, line: str) -> None:
        """Show a line of a generation, or of a hook."""

    def waiting(self, words: str) -> None:
        """Show what is waited for at this moment."""


class ProgressPrinter:
    """A line for each step, with the time since the deploy was asked for.

    Args:
        asked_at: seconds since the epoch.
        beneath: shows what is waited for, on a terminal; None elsewhere.
    """

    def __init__(self, asked_at: float, beneath: Callable[[str], None] | None = None) -> None:
        self.shown: set[str] = set()
        self._asked_at = asked_at
        self._beneath = beneath
        self._paint = painter()
        self._said_at = time.monotonic()

    def step(self, event: Event) -> str:
        """Return the line of a step; empty if it has none, as a decision, which the command itself reports."""
        words = "" if event["event"] in DECISIONS else sentence(event)
        if not words:
            return ""
        style = YELLOW if event.get("reason") else _style(event)
        return f"{self._paint(DIM, _time(event, self._asked_at))}  {self._paint(style, escape_control(words))}"

    def event(self, event: Event) -> None:
        """Show a step; a decision is reported by the command itself."""
        line = self.step(event)
        if line:
            self._print(line)
        if self._beneath is not None:
            self._beneath(_NEXT.get(str(event["event"]), "waiting"))

    def output(self, source: int | str, line: str) -> None:
        """Show a line of a generation, or of a hook."""
        text = printable(line)
        if len(self.shown) < SHOWN_MAX:
            self.shown.add(text)
        style = generation_style(source) if isinstance(source, int) else DIM
        self._print(f"          {self._paint(style, f'[{source}]')} {text}")

    def waiting(self, words: str) -> None:
        """Show what is waited for: on a terminal beneath the lines, elsewhere as a line when nothing came for long."""
        if self._beneath is not None:
            self._beneath(words)
        elif time.monotonic() - self._said_at >= REPEAT_SECONDS:
            self._print(f"{self._paint(DIM, _seconds(time.time() - self._asked_at))}  {words}")

    def _print(self, line: str) -> None:
        """Print a line; on a terminal above what is shown beneath, which rich writes again."""
        self._said_at = time.monotonic()
        print_line(line)


@contextlib.contextmanager
def show_progress(asked_at: float) -> Iterator[Progress]:
    """Yield what shows the deploy that was asked for at ``asked_at``, in seconds since the epoch."""
    if not is_coloured():
        yield ProgressPrinter(asked_at)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Bar(*columns, console=Console(highlight=False), transient=True) as bar:
        task = bar.add_task("waiting for the agent", total=None)
        yield ProgressPrinter(asked_at, lambda words: bar.update(task, description=escape(words)))


_NEXT = {
    "deploy.requested": "waiting for the launch",
    "deploy.waiting": "waiting for a slot",
    "generation.launched": "booting",
    "generation.healthy": "switching",
    "generation.live": "live",
    "hook.ended": "launching",
}
"""What comes after each step."""


def _style(event: Event) -> str:
    generation = event.get("generation")
    return generation_style(generation) if isinstance(generation, int) else ""


def _time(event: Event, asked_at: float) -> str:
    try:
        at = datetime.fromisoformat(str(event.get("at"))).timestamp()
    except ValueError:
        at = time.time()
    return _seconds(at - asked_at)


def _seconds(since: float) -> str:
    return f"{max(0.0, since):6.2f} s"
