"""The responses that rainbowd writes itself."""

from __future__ import annotations

from rainbowd.http1 import Refusal
from rainbowd.proxy.error_response import error_response


def test_a_response_has_a_length_a_date_and_the_reason() -> None:
    refusal = Refusal(503, "The app is not running.", retry_after_seconds=5)
    fields, _, body = error_response(refusal, keep_alive=False).partition(b"\r\n\r\n")
    assert body == b"503 Service Unavailable: The app is not running.\n"
    for line in (b"Content-Length: %d" % len(body), b"Retry-After: 5", b"Connection: close"):
        assert line in fields.split(b"\r\n")
    assert b"\r\nDate: " in fields


def test_a_response_to_head_has_the_same_head_without_a_body() -> None:
    refusal = Refusal(502, "The app cannot be reached.")
    whole = error_response(refusal, keep_alive=True)
    alone = error_response(refusal, keep_alive=True, with_body=False)
    assert alone == whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
