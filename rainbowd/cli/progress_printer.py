"""The progress of a deploy on stdout: plain lines in a pipe or a CI log, colours and a clock on a terminal."""

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
from rainbowd.report.history import RESULTS
from rainbowd.report.sentences import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from rainbowd.report.journal import Event

REPEAT_SECONDS = 10.0
"""How often a pipe gets a line while nothing happens, so that the reader knows what the deploy waits for."""
SHOWN_MAX = 10_000
"""How many lines of output are remembered, so that they are not printed twice."""


class Progress(Protocol):
    """A display of the steps and the output of a deploy, in order."""

    @property
    def shown(self) -> AbstractSet[str]:
        """The lines of output that were shown, without escape sequences."""

    def event(self, event: Event) -> None:
        """Show a step of the deploy."""

    def output(self, source: int | str, line: str) -> None:
        """Show a line of output of a generation or a hook."""

    def waiting(self, text: str) -> None:
        """Show what the deploy waits for now."""


class ProgressPrinter:
    """A printer of one line for each step, with the time since the deploy was requested.

    Args:
        requested_at: when the deploy was requested, in seconds since the epoch.
        show_below: shows what the deploy waits for below the lines, on a terminal; None otherwise.
    """

    def __init__(self, requested_at: float, show_below: Callable[[str], None] | None = None) -> None:
        self.shown: set[str] = set()
        self._requested_at = requested_at
        self._show_below = show_below
        self._paint = painter()
        self._printed_at = time.monotonic()

    def step(self, event: Event) -> str:
        """Return the line for a step; empty for unknown events and for the outcome, which the command prints."""
        text = "" if event["event"] in RESULTS else sentence(event)
        if not text:
            return ""
        style = YELLOW if event.get("reason") else _style(event)
        return f"{self._paint(DIM, _time(event, self._requested_at))}  {self._paint(style, escape_control(text))}"

    def event(self, event: Event) -> None:
        """Print a step; the command itself prints the outcome."""
        line = self.step(event)
        if line:
            self._print(line)
        if self._show_below is not None:
            self._show_below(_NEXT.get(str(event["event"]), "waiting"))

    def output(self, source: int | str, line: str) -> None:
        """Show a line of output of a generation or a hook."""
        text = printable(line)
        if len(self.shown) < SHOWN_MAX:
            self.shown.add(text)
        style = generation_style(source) if isinstance(source, int) else DIM
        self._print(f"          {self._paint(style, f'[{source}]')} {text}")

    def waiting(self, text: str) -> None:
        """Show what the deploy waits for: below the lines on a terminal, else as a line after a while."""
        if self._show_below is not None:
            self._show_below(text)
        elif time.monotonic() - self._printed_at >= REPEAT_SECONDS:
            self._print(f"{self._paint(DIM, _seconds(time.time() - self._requested_at))}  {text}")

    def _print(self, line: str) -> None:
        """Print a line; on a terminal, rich redraws the line below it."""
        self._printed_at = time.monotonic()
        print_line(line)


@contextlib.contextmanager
def show_progress(requested_at: float) -> Iterator[Progress]:
    """Yield the display of a deploy that was requested at ``requested_at``, in seconds since the epoch."""
    if not is_coloured():
        yield ProgressPrinter(requested_at)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Bar(*columns, console=Console(highlight=False), transient=True) as bar:
        task = bar.add_task("waiting for the agent", total=None)
        yield ProgressPrinter(requested_at, lambda text: bar.update(task, description=escape(text)))


_NEXT = {
    "deploy.requested": "waiting for the launch",
    "deploy.waiting": "waiting for a slot",
    "generation.launched": "booting",
    "generation.healthy": "switching",
    "generation.live": "live",
    "hook.ended": "launching",
}
"""What the deploy waits for after each step."""


def _style(event: Event) -> str:
    generation = event.get("generation")
    return generation_style(generation) if isinstance(generation, int) else ""


def _time(event: Event, requested_at: float) -> str:
    try:
        at = datetime.fromisoformat(str(event.get("at"))).timestamp()
    except ValueError:
        at = time.time()
    return _seconds(at - requested_at)


def _seconds(since: float) -> str:
    return f"{max(0.0, since):6.2f} s"
