from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from rainbowd import log
from tests.log.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Place:
    """Takes what is written, as far as it has room; may be stopped."""

    def __init__(self) -> None:
        self.taken = b""
        self.room_bytes = 1 << 30
        self.is_open = threading.Event()
        self.is_open.set()
        self.was_asked = threading.Event()

    def write(self, data: bytes) -> int:
        self.was_asked.set()
        self.is_open.wait(PATIENCE_SECONDS)
        part = data[: self.room_bytes]
        self.taken += part
        self.room_bytes -= len(part)
        return len(part)


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.is_open.set()


@pytest.fixture
def writer(place: Place) -> log.Writer:
    return log.Writer(place.write, lambda lost: b"lost %d\n" % lost)


def test_lines_come_out_in_order(writer: log.Writer, place: Place) -> None:
    lines = [b"%d\n" % number for number in range(5000)]
    for line in lines:
        writer.put(line)
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"".join(lines)


@pytest.mark.parametrize(
    ("line", "kept"), [(b"x\n", log.LINES_MAX), (b"x" * ((1 << 20) - 1) + b"\n", log.BYTES_MAX >> 20)]
)
def test_the_queue_is_bounded_by_lines_and_by_bytes(writer: log.Writer, place: Place, line: bytes, kept: int) -> None:
    place.is_open.clear()
    writer.put(b"first\n")
    assert place.was_asked.wait(PATIENCE_SECONDS)
    for _ in range(kept + 7):
        writer.put(line)
    assert not writer.flush(0)
    place.is_open.set()
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"first\n" + line * kept + b"lost 7\n"


def test_lines_that_failed_are_counted_once_it_works_again(writer: log.Writer, place: Place) -> None:
    place.room_bytes = 0
    for line in (b"a\n", b"b\n", b"c\nd\n"):
        writer.put(line)
        assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b""
    place.room_bytes = 1 << 20
    writer.put(b"e\n")
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"lost 4\ne\n"


def test_a_line_that_was_torn_is_ended_and_counted(writer: log.Writer, place: Place) -> None:
    place.room_bytes = 4
    writer.put(b"a\nbcd\n")
    assert writer.flush(PATIENCE_SECONDS)
    place.room_bytes = 1 << 20
    writer.put(b"e\n")
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"a\nbc\nlost 1\ne\n"


def test_a_thread_that_cannot_start_is_not_an_error(writer: log.Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        writer.put(b"a\n")
        assert writer.flush(0)
    writer.put(b"b\n")
    assert writer.flush(PATIENCE_SECONDS)
