"""What ends an exchange early, without an exchange."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from rainbowd.http1 import Refusal
from rainbowd.proxy.claim import Claim
from rainbowd.proxy.exchange_watch import CLIENT_LEFT_SECONDS, ExchangeWatch
from rainbowd.proxy.failures import AppBroke, ClientGone
from rainbowd.proxy.upload import NO_UPLOAD
from tests.proxy.alone import Parts, alone


def watch(parts: Parts) -> ExchangeWatch:
    return ExchangeWatch(parts.client, Claim(parts.client, parts.context), NO_UPLOAD, parts.context)


@pytest.mark.parametrize(("has_begun", "failure"), [(False, Refusal), (True, AppBroke)])
async def test_a_cut_is_raised_at_the_next_wait(has_begun: bool, failure: type[Exception]) -> None:
    async with alone() as parts:
        watched = watch(parts)
        watched.has_begun = has_begun
        watched.cut()
        with pytest.raises(failure):
            await parts.client.wire.recv()


async def test_the_time_for_the_response_ends_when_it_has_begun_and_starts_again_when_it_is_complete() -> None:
    async with alone() as parts:
        watched = watch(parts)
        limit_seconds = parts.context.settings.limits.response_timeout
        assert limit_seconds is not None
        limited = list[bool]()
        for watched.has_begun, watched.is_complete in ((False, False), (True, False), (True, True)):
            watched.start_response_timeout()
            limited.append(parts.client.deadline <= time.monotonic() + limit_seconds)
        assert limited == [True, False, True]


async def test_a_fin_starts_a_short_limit_and_an_end_in_both_directions_is_a_client_that_left() -> None:
    async with alone() as parts:
        watched = watch(parts)
        await parts.far.fin()
        await trio.testing.wait_all_tasks_blocked(0.01)
        watched.check_client_end()
        assert parts.client.deadline <= time.monotonic() + CLIENT_LEFT_SECONDS
        parts.far.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        watched.check_client_end()
        with pytest.raises(ClientGone):
            await parts.client.wire.wait_readable()
