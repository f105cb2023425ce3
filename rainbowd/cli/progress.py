"""A deploy as it happens, on stdout: plain lines in a pipe or a CI log, with colours and a clock on a terminal."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from rainbowd.cli.terminal import DIM, YELLOW, hue, inert, is_coloured, painter, say
from rainbowd.report.history import DECISIONS
from rainbowd.report.words import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rainbowd.report.journal import Event


class Progress(Protocol):
    """Is told what happens, in order."""

    def event(self, event: Event) -> None:
        """The journal tells this about the deploy."""

    def output(self, generation: int, line: str) -> None:
        """The candidate says this while it boots."""


class Lines:
    """A line for each step, with the time since the deploy was asked for.

    Args:
        asked_at: seconds since the epoch.
        beneath: shows what is waited for, on a terminal; None elsewhere.
    """

    def __init__(self, asked_at: float, beneath: Callable[[str], None] | None = None) -> None:
        self._asked_at = asked_at
        self._beneath = beneath
        self._paint = painter()

    def event(self, event: Event) -> None:
        """Tell a step; a decision is told by the command itself."""
        if event["event"] in DECISIONS:
            return
        words = sentence(event)
        if words:
            style = YELLOW if event.get("reason") else _style(event)
            self._print(f"{self._paint(DIM, _time(event, self._asked_at))}  {self._paint(style, inert(words))}")
        if self._beneath is not None:
            self._beneath(_NEXT.get(str(event["event"]), "waiting"))

    def output(self, generation: int, line: str) -> None:
        """Show a line of the app's."""
        self._print(f"          {self._paint(hue(generation), f'[{generation}]')} {inert(line)}")

    def _print(self, line: str) -> None:
        """On a terminal above what is shown beneath, which is rewritten: rich sees to that."""
        say(line)


@contextlib.contextmanager
def shown(asked_at: float) -> Iterator[Progress]:
    """What is told the deploy that was asked for then."""
    if not is_coloured():
        yield Lines(asked_at)
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Bar(*columns, console=Console(highlight=False), transient=True) as bar:
        task = bar.add_task("waiting for the agent", total=None)
        yield Lines(asked_at, lambda words: bar.update(task, description=words))


_NEXT = {
    "deploy.requested": "waiting for the launch",
    "deploy.waiting": "waiting for a slot",
    "generation.launched": "booting",
    "generation.healthy": "switching",
    "generation.live": "live",
    "hook.ended": "launching",
}
"""What comes behind each step."""


def _style(event: Event) -> str:
    generation = event.get("generation")
    return hue(generation) if isinstance(generation, int) else ""


def _time(event: Event, asked_at: float) -> str:
    try:
        at = datetime.fromisoformat(str(event.get("at"))).timestamp()
    except ValueError:
        at = time.time()
    return f"{max(0.0, at - asked_at):6.2f} s"
