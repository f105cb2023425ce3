"""The body of a request on its way."""

from __future__ import annotations

import pytest

from rainbowd.http1 import ChunkedBody, LengthBody, Refusal
from rainbowd.proxy.upload import NO_UPLOAD, Upload


def test_a_sized_body_is_complete_when_its_last_byte_was_sent() -> None:
    upload = Upload(LengthBody(5), None, chunked=False)
    assert upload.feed(b"hello, next") == (b"hello", b", next")
    assert not upload.is_done
    upload.mark_sent()
    assert (upload.is_done, upload.has_begun, upload.is_empty) == (True, True, False)


def test_a_body_beyond_the_limit_is_refused_when_it_passes_the_limit() -> None:
    upload = Upload(ChunkedBody(strict=True), 3, chunked=True)
    with pytest.raises(Refusal) as refused:
        upload.feed(b"4\r\nbody\r\n")
    assert refused.value.status == 413


def test_bytes_that_a_pipe_moved_count() -> None:
    upload = Upload(LengthBody(5), None, chunked=False)
    upload.skip(3)
    assert upload.plain_bytes == 2
    upload.skip(2)
    assert upload.is_done


def test_a_request_without_a_body_is_complete_and_empty() -> None:
    assert (NO_UPLOAD.is_done, NO_UPLOAD.is_empty, NO_UPLOAD.plain_bytes) == (True, True, 0)
