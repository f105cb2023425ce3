from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.address import UnixAddress
from rainbowd.config import Health
from rainbowd.deploy.host.config_hint import config_hint, hint_at_protocol

if TYPE_CHECKING:
    from pathlib import Path

HTTPS = {"X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("status", "location", "lines"),
    [
        (400, None, ["'localhost'", "set health.host"]),
        (421, None, ["set health.host"]),
        (403, None, ["set health.host", "health.path", 'health.status to "200-299,403"']),
        (401, None, ["health.path", 'health.status to "200-299,401"']),
        (404, None, ["no page '/up'", "set health.path"]),
        (301, "https://shop.example/up", ['set health.headers to {"X-Forwarded-Proto": "https"}']),
        (301, "/up/", ['set health.path to "/up/"']),
        (308, "http://localhost/up/", ['set health.path to "/up/"']),
        (302, "/login?next=/up", ["set health.path", 'health.status to "200-299,302"']),
    ],
)
def test_a_refusal_names_the_lines_that_help(status: int, location: str | None, lines: list[str]) -> None:
    told = str(config_hint(status, location, b"", Health(path="/up")))
    assert [line for line in lines if line not in told] == []


def test_an_app_that_forces_https_whatever_it_is_told_is_not_to_be_told_so_again() -> None:
    health = Health.model_validate({"path": "/up", "headers": HTTPS})
    assert str(config_hint(301, "https://shop.example/up", b"", health)).endswith('set health.status to "200-299,301"')


@pytest.mark.parametrize("status", [405, 500, 503])
def test_a_failure_of_the_app_s_own_has_no_line(status: int) -> None:
    assert config_hint(status, None, b"", Health(path="/up")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<center>The plain HTTP request was sent to HTTPS port</center>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    ],
)
def test_a_server_that_wants_tls_is_understood(body: bytes) -> None:
    assert config_hint(400, None, body, Health(path="/up")) == "it speaks TLS: let it speak plain HTTP here"


@pytest.mark.parametrize(
    ("first", "line"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x16", "it speaks TLS: let it speak plain HTTP here"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "it speaks HTTP/2 only: let it speak HTTP/1.1 here"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
        (b"", None),
    ],
)
async def test_another_protocol_is_named(first: bytes, line: str | None, tmp_path: Path) -> None:
    assert await hint_at_protocol(first, UnixAddress(tmp_path / "nobody")) == line
