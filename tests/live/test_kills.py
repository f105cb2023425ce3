from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.kills import report, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.long]


def test_a_killed_agent_costs_the_requests_in_flight_and_no_app(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=3)
    print(report(outcome))
    assert outcome.wrong == []


def test_a_restart_behind_a_listener_that_stays_open_loses_no_connection(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=1, is_restart=True)
    print(report(outcome))
    assert outcome.wrong == []
