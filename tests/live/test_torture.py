from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.judgement import report
from tests.live.torture import run

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 40.0


@pytest.mark.live
@pytest.mark.long
def test_whatever_is_done_to_it_only_requests_on_a_killed_process_are_lost(tmp_path: Path) -> None:
    outcome = run(tmp_path, SECONDS, seed=20)
    print(report(outcome))
    assert outcome.wrong == []
    assert outcome.kills
    assert outcome.events["deploy.succeeded"] > 0
    assert outcome.events["deploy.failed"] > 0
