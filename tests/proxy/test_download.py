"""The response on its way, and what it leaves on the app's connection."""

from __future__ import annotations

import pytest

from rainbowd.http1 import BadResponse, read_response
from rainbowd.proxy.download import Download, check_switch
from tests.proxy.alone import head

HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def download(response: bytes, request: bytes = GET) -> Download:
    found = read_response(response, 0)
    assert found is not None
    made = Download(head(request), found[0])
    made.feed(response[found[1] :])
    return made


@pytest.mark.parametrize(
    ("response", "request_data", "is_clean", "is_delimited"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", GET, True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok?", GET, False, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", GET, False, True),
        (b"HTTP/1.1 200 OK\r\n\r\nok", GET, False, True),
        (b"HTTP/1.1 200 OK\r\n\r\nok", OLD, False, False),
        (b"HTTP/1.1 200 OK\r\n\r\n", HEAD, False, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", GET, True, True),
    ],
)
def test_a_connection_is_clean_only_if_nothing_can_be_left_on_it(
    response: bytes, request_data: bytes, is_clean: bool, is_delimited: bool
) -> None:
    made = download(response, request_data)
    assert (made.leaves_upstream_clean, made.is_delimited) == (is_clean, is_delimited)


def test_a_switch_that_the_client_did_not_request_is_a_bad_response() -> None:
    found = read_response(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 0)
    assert found is not None
    with pytest.raises(BadResponse):
        check_switch(head(), found[0])
