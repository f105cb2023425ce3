"""Few pipes, lent out empty."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.proxy.pipes import LARGE_BYTES, Pipe, Pipes
from tests.proxy.scripted import no_descriptor_left

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    with no_descriptor_left(), contextlib.closing(Pipes()) as pipes:
        yield pipes


def test_a_small_body_gets_none(pipes: Pipes) -> None:
    with pipes.borrow(LARGE_BYTES - 1) as pipe:
        assert pipe is None


def test_one_that_was_given_back_is_lent_again(pipes: Pipes) -> None:
    lent = []
    for _ in range(2):
        with pipes.borrow(LARGE_BYTES) as pipe:
            lent.append(pipe)
    assert lent[0] is lent[1] is not None


def test_there_are_sixteen_at_a_time(pipes: Pipes) -> None:
    with contextlib.ExitStack() as stack:
        lent = [stack.enter_context(pipes.borrow(LARGE_BYTES)) for _ in range(17)]
        assert all(lent[:16])
        assert lent[16] is None
    with pipes.borrow(LARGE_BYTES) as pipe:
        assert pipe is not None


def borrow_and_break(pipes: Pipes) -> list[Pipe]:
    lent = []
    with contextlib.suppress(ZeroDivisionError), pipes.borrow(LARGE_BYTES) as pipe:
        assert pipe is not None
        lent.append(pipe)
        os.write(pipe.write_end, b"left behind")
        raise ZeroDivisionError
    return lent


def test_one_that_may_hold_something_still_is_not_lent_again(pipes: Pipes) -> None:
    for _ in range(20):
        broken = borrow_and_break(pipes)
        with pipes.borrow(LARGE_BYTES) as pipe:
            assert pipe is not None
            assert pipe not in broken
            with pytest.raises(BlockingIOError):
                os.read(pipe.read_end, 1)
