from __future__ import annotations

import ipaddress

import pytest

from rainbowd.roster.canary_share import is_in_share

CLIENTS = [str(ipaddress.ip_address(0x0A000000 + number)).encode() for number in range(10_000)]


@pytest.mark.parametrize("share", [0, 0.5, 1, 5, 25, 50, 99, 100])
def test_a_share_is_as_large_as_it_says(share: float) -> None:
    found = sum(is_in_share(client, share, canary=7) for client in CLIENTS)
    expected = len(CLIENTS) * share / 100
    assert abs(found - expected) <= 4 * (expected * (1 - share / 100)) ** 0.5


def test_a_client_of_a_share_is_in_every_larger_one() -> None:
    before: set[bytes] = set()
    for share in (1, 5, 5.5, 25, 80):
        found = {client for client in CLIENTS if is_in_share(client, share, canary=3)}
        assert before <= found
        before = found


def test_another_canary_gets_other_clients() -> None:
    first, second = ({client for client in CLIENTS if is_in_share(client, 10, canary=canary)} for canary in (1, 2))
    assert len(first & second) < len(first) / 2
