"""Runs ``async def`` tests in trio; on virtual time those that ask for ``autojump``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def autojump() -> MockClock:
    """Virtual time: for fakes only, as it runs on while a thread, a socket or a process works."""
    return MockClock(autojump_threshold=0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Put a call that runs the coroutine in the place of the test."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        clock = pyfuncitem.funcargs.get("autojump")

        def run(**arguments: object) -> None:
            async def main() -> None:
                await test(**arguments)

            trio.run(main, clock=clock if isinstance(clock, MockClock) else None)

        pyfuncitem.obj = run
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test
