"""A task in the background ends with the coroutine that it belongs to."""

from __future__ import annotations

import pytest
import trio

from rainbowd.http1 import Refusal
from rainbowd.proxy.background import run_with_background
from rainbowd.proxy.failures import AppBroke, ClientGone


async def answer() -> int:
    await trio.lowlevel.checkpoint()
    return 1


@pytest.mark.parametrize("is_needed", [True, False])
async def test_the_background_finishes_after_the_coroutine_if_it_is_needed(autojump: None, is_needed: bool) -> None:
    ended = []

    async def background() -> None:
        await trio.sleep(1)
        ended.append(trio.current_time())

    began = trio.current_time()
    assert await run_with_background(answer, background, lambda: is_needed) == 1
    assert [at - began for at in ended] == ([1] if is_needed else [])


@pytest.mark.parametrize("failure", [Refusal(502, "no"), ClientGone(), AppBroke("cut")])
async def test_a_failure_is_raised_by_itself_and_ends_the_background(failure: Exception) -> None:
    async def fail() -> int:
        await trio.lowlevel.checkpoint()
        raise failure

    with trio.fail_after(5), pytest.raises(type(failure)) as raised:
        await run_with_background(fail, trio.sleep_forever, lambda: True)
    assert raised.value is failure
