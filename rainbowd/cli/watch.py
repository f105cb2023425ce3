"""``rainbowd status --watch``: the status as it changes, on a screen of its own that is gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from rainbowd.cli.site import read_status
from rainbowd.cli.status import readable
from rainbowd.cli.terminal import DIM, YELLOW, inert, painter
from rainbowd.errors import RainbowdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOK_SECONDS = 0.2
USUAL_LINES = 24
"""Of a terminal that does not say."""

# DEC private modes, as xterm's "Control Sequences" has them: 1049 the other screen, 25 the cursor, 7 wrapping.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(state_dir: Path, *, as_json: bool) -> int:
    """Show the status until interrupted.

    Args:
        state_dir: of the agent.
        as_json: one object a line, a line for each change.

    Returns:
        The exit status, 0.

    Raises:
        NotRunning: no agent runs; on a terminal only if it did not from the beginning.
        RainbowdError: its status cannot be read.
    """
    read_status(state_dir)
    try:
        if as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            _print_changes(state_dir, as_json=as_json)
        with _screen():
            _draw(state_dir)
    except KeyboardInterrupt:
        return 0


def _print_changes(state_dir: Path, *, as_json: bool) -> NoReturn:
    shown = None
    while True:
        told = read_status(state_dir)
        if told != shown:
            print(json.dumps(told) if as_json else f"{readable(told, state_dir)}\n", flush=True)
            shown = told
        time.sleep(LOOK_SECONDS)


def _draw(state_dir: Path) -> NoReturn:
    """Draw it anew where it has changed, be it the age of something."""
    shown: list[str] = []
    while True:
        lines = _lines(state_dir)
        if lines != shown:
            height = os.get_terminal_size().lines or USUAL_LINES
            visible = lines[:height] if len(lines) <= height else [*lines[: height - 1], "..."]
            text = "\n".join(line + _END_OF_LINE for line in visible)
            print(_HOME + text + _BELOW, end="", flush=True)
            shown = lines
        time.sleep(LOOK_SECONDS)


def _lines(state_dir: Path) -> list[str]:
    """What there is to see; an agent that has gone may come again."""
    paint = painter()
    try:
        lines = readable(read_status(state_dir), state_dir).split("\n")
    except RainbowdError as error:
        lines = [paint(YELLOW, inert(error))]
    return [*lines, "", paint(DIM, "Ctrl-C ends this, and nothing else")]


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """The terminal's other screen; whatever ends us, it is left."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _exit)
    print(_ENTER, end="", flush=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the terminal itself has gone
            print(_LEAVE, end="", flush=True)


def _exit(signum: int, _frame: object) -> None:
    sys.exit(128 + signum)
