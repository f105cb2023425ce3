"""Runs tests that are coroutine functions under trio."""

from __future__ import annotations

import inspect
import os
import signal
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from rainbowd import log
from tests.accounts import open_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["open_path"]


LIVE_WEIGHT, LONG_WEIGHT = 3, 20
"""About how long a test takes that is live or long, compared with others."""


def pytest_configure(config: pytest.Config) -> None:
    """Have a TERM end the run as Ctrl-C does: with every fixture's end, which ends the processes that it started.

    The order of the files is that of ``put_long_files_first``, not pytest-xdist's, by which the single tests that take
    longest are last.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.option.loadscopereorder = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``, which continuous integration turns on."""
    text = "also run the tests marked long: searches, soaks and storms, which take minutes"
    parser.addoption("--long", action="store_true", default=bool(os.environ.get("CI")), help=text)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many files run at a time: two for each core, because live tests mostly wait for a process."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``long``, unless they are asked for, and order the files."""
    if not config.getoption("long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    put_long_files_first(items)


def put_long_files_first(items: list[pytest.Item]) -> None:
    """Order the files by how long they take, as far as their marks show it: a run ends soon after its last file begins.

    The order within a file stays.
    """
    weights: Counter[Path] = Counter()
    for item in items:
        weights[item.path] += LONG_WEIGHT if item.get_closest_marker("long") else 0
        weights[item.path] += LIVE_WEIGHT if item.get_closest_marker("live") else 0
    items.sort(key=lambda item: -weights[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how to run everything."""
    if not config.getoption("long"):
        terminalreporter.write_line("The tests marked long were left out; .venv/bin/pytest --long runs everything.")


@pytest.fixture(autouse=True)
def log_written() -> Iterator[None]:
    """Have what a test logs written before the next one begins: it belongs to the output of the test."""
    yield
    log.flush(1.0)


@pytest.fixture
def autojump() -> None:
    """Run the test on virtual time, which jumps whenever nothing else can be done; for fakes only."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Give a coroutine function a run of its own; leave all others to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    clock = MockClock(autojump_threshold=0) if "autojump" in pyfuncitem.fixturenames else None
    trio.run(partial(pyfuncitem.obj, **arguments), clock=clock)
    return True
