"""The frames are WebSocket's: RFC 6455."""

from __future__ import annotations

from bench.frames import CLIENT_BYTES, PAYLOAD_BYTES, SERVER_BYTES, acceptance, answer_to, client_frame, server_frame

TEXT = b"a text of two and thirty letters"


def test_the_accept_field_is_that_of_the_rfc() -> None:
    request = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in acceptance(request)


def test_a_masked_text_is_answered_unmasked() -> None:
    sent = client_frame(TEXT, b"\x01\x02\x03\x04")
    assert TEXT not in sent
    assert answer_to(sent) == server_frame(TEXT)


def test_lengths_are_as_said() -> None:
    assert len(TEXT) == PAYLOAD_BYTES
    assert len(client_frame(TEXT, b"mask")) == CLIENT_BYTES
    assert len(server_frame(TEXT)) == SERVER_BYTES


def test_other_frames_are_not_answered() -> None:
    assert answer_to(b"\x88\x80mask") == b""
