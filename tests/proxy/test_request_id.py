"""The id of a request, and the dates."""

from __future__ import annotations

import re

from rainbowd.http1 import read_response
from rainbowd.proxy.request_id import add_date, add_request_id
from tests.proxy.alone import head


def test_a_request_gets_a_uuid_and_a_start_time_unless_it_has_them() -> None:
    request = head()
    add_request_id(request)
    assert re.fullmatch(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", request.request_id)
    assert re.fullmatch(rb"t=\d+\.\d{3}", request.request_start)
    first = request.request_id
    add_request_id(request)
    assert request.request_id == first


def test_no_two_requests_get_the_same_id() -> None:
    requests = [head() for _ in range(1000)]
    for request in requests:
        add_request_id(request)
    assert len({request.request_id for request in requests}) == 1000


def test_a_response_gets_one_date() -> None:
    for sent in (b"", b"Date: Mon, 30 Nov 2026 16:00:00 GMT\r\n"):
        found = read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + sent + b"\r\n", 0)
        assert found is not None
        add_date(found[0])
        assert found[0].serialise(chunked=False, connection=b"").count(b"Date: ") == 1
