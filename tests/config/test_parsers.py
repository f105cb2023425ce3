from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import (
    StatusRanges,
)
from rainbowd.config.parsers import parse_listen, parse_network, parse_signal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "matched", "others"),
    [
        ("200", [200], [199, 201]),
        ("200-299,401", [200, 299, 401], [199, 300, 400, 402]),
        (" 301 , 200-204 ", [301, 200, 204], [205, 300]),
    ],
)
def test_status_ranges_match_their_codes_and_are_shown_as_they_were_written(
    text: str, matched: list[int], others: list[int]
) -> None:
    ranges = StatusRanges.parse(text)
    assert [code for code in matched + others if ranges.matches(code)] == matched
    assert str(ranges) == text


@pytest.mark.parametrize("text", ["", ",", "20", "2000", "0200", "099", "200-", "-200", "204-200", "2xx", "२००"])
def test_a_value_that_is_not_a_status_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        StatusRanges.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "::", "localhost", "app-1.example.org", "my_host", "1.example"])
def test_hosts_are_addresses_or_names(text: str, tmp_path: Path) -> None:
    address = f"[{text}]:80" if ":" in text else f"{text}:80"
    assert str(parse_listen(address, tmp_path)) == address


@pytest.mark.parametrize("text", ["256.0.0.1", "1.2.3", "a..b", ".a", "-a", "a-", "a/b", "a@b", "é", "a b", "x" * 64])
def test_a_broken_address_is_not_a_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an IP address or a name"):
        parse_listen(f"{text}:80", tmp_path)


def test_a_network_without_bits_is_one_address() -> None:
    assert str(parse_network("10.0.0.1")) == "10.0.0.1/32"


def test_signals_are_known_by_both_their_names() -> None:
    assert parse_signal("TERM") is parse_signal("SIGTERM") is parse_signal("term") is Signals.SIGTERM
