from __future__ import annotations

import pytest

from rainbowd.http1 import ResponseCheck
from tests.http1.feeding import in_any_pieces, pieces

OK = b"HTTP/1.1 200 OK\r\n"


def checked(data: bytes, step: int, *, method: bytes = b"GET", closed: bool = False) -> ResponseCheck:
    check = ResponseCheck(method)
    for piece in pieces(data, step):
        check.feed(piece)
    if closed:
        check.feed_eof()
    return check


@in_any_pieces
@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 5\r\n\r\nhello",
        OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5\n\n5 \r\nhello\r\n0\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nhello, and more than it declared",
    ],
)
def test_an_answer_that_clients_get_whole_has_no_problem(data: bytes, step: int) -> None:
    check = checked(data, step)
    assert (check.problem, check.is_done) == (None, True)
    assert check.feed(b"more") is check.feed_eof() is None


@in_any_pieces
@pytest.mark.parametrize("closed", [False, True])
def test_an_answer_that_ends_with_its_connection_is_whole_only_then(step: int, closed: bool) -> None:
    check = checked(OK + b"\r\nhello", step, closed=closed)
    assert (check.problem, check.is_done) == (None, closed)


@in_any_pieces
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html>\n", "it is not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it switches protocols, which was not asked for"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n", "a chunk size is not valid"),
    ],
)
def test_the_problem_is_named_once_it_is_there_and_stays(data: bytes, problem: str, step: int) -> None:
    check = checked(data, step)
    assert check.problem == problem
    assert check.feed(OK + b"\r\n") == check.feed_eof() == problem


@in_any_pieces
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the connection was closed without one"),
        (b"HTTP/1.1 200", "it ended within its header"),
        (OK + b"Content-Length: 5\r\n\r\nhell", "it ended before its Content-Length"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "it ended before its last chunk"),
    ],
)
def test_an_answer_that_is_cut_has_a_problem_once_the_app_closes(data: bytes, problem: str, step: int) -> None:
    assert checked(data, step).problem is None
    assert checked(data, step, closed=True).problem == problem


def test_the_payload_of_what_was_fed_last_is_there() -> None:
    check = ResponseCheck()
    check.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000)
    assert check.payload == b"x" * 1000
    check.feed(b"2\r\nyy\r\n")
    assert check.payload == b"yy"


@in_any_pieces
def test_a_response_to_head_has_no_body(step: int) -> None:
    check = checked(OK + b"Content-Length: 5\r\n\r\n", step, method=b"HEAD")
    assert (check.problem, check.is_done) == (None, True)
    assert check.head is not None
    assert check.head.status == 200
