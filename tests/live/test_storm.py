from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live import storm

if TYPE_CHECKING:
    from pathlib import Path

DEPLOYS = 6
DEPLOYS_BY_CALLS = 4
KINDS = {"keep-alive", "fresh", "post with length", "post chunked", "slow", "stream", "websocket", "message"}


@pytest.mark.live
@pytest.mark.long
def test_deploys_under_traffic_of_every_kind_lose_no_request(tmp_path: Path) -> None:
    seen = storm.run(tmp_path, DEPLOYS)
    print(storm.report(seen))
    assert seen.failures == []
    assert len(seen.switches) == DEPLOYS
    assert seen.traffic.counts.keys() >= KINDS
    assert storm.survivors(seen) > 0


@pytest.mark.live
@pytest.mark.long
def test_deploys_lose_no_request_if_several_processes_serve(tmp_path: Path) -> None:
    seen = storm.run(tmp_path, DEPLOYS_BY_CALLS, workers=3)
    print(storm.report(seen))
    assert seen.failures == []
    assert seen.traffic.counts.keys() >= KINDS


@pytest.mark.live
@pytest.mark.long
def test_deploys_by_calls_lose_no_request(tmp_path: Path) -> None:
    seen = storm.run(tmp_path, DEPLOYS_BY_CALLS, by_api=True)
    print(storm.report(seen))
    assert seen.failures == []
    assert [switch.trigger for switch in seen.switches] == ["api"] * DEPLOYS_BY_CALLS
    assert seen.traffic.counts.keys() >= KINDS | {"metrics"}
