"""A task in the background of a coroutine.

This module must not be compiled.  For mypyc, all coroutines share one place for the exception that is being handled.
So a compiled coroutine must not wait in an ``except`` or ``finally`` block, or at the end of ``async with``: others
that run meanwhile would raise its exception in place of their own.  ``tests/test_build.py`` checks what is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from rainbowd.http1 import Refusal
from rainbowd.proxy.failures import AppBroke, ClientGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Result = TypeVar("Result")


async def run_with_background(
    main: Callable[[], Awaitable[Result]], background: Callable[[], Awaitable[None]], is_needed: Callable[[], bool]
) -> Result:
    """Run two functions at the same time, and return the result of ``main``.

    Args:
        main: the function whose result is returned.
        background: is cancelled if ``main`` fails, or if it is not needed after that; otherwise it is waited for.
        is_needed: called once ``main`` has returned; whether ``background`` may finish.

    Raises:
        Refusal, ClientGone, AppBroke: ``main`` failed.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(background)
        try:
            result = await main()
        except (Refusal, ClientGone, AppBroke) as error:
            failure = error
        if failure is not None or not is_needed():
            nursery.cancel_scope.cancel()
    if failure is None:
        return result
    try:
        raise failure
    finally:
        del failure  # its traceback refers to this frame: a cycle
