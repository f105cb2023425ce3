from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live import soak
from tests.live.soak_traffic import KINDS
from tests.live.test_storm import KINDS as PACED_KINDS

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 30.0


@pytest.mark.live
@pytest.mark.long
def test_full_load_of_every_kind_gets_every_answer_and_leaves_nothing_behind(tmp_path: Path) -> None:
    seen = soak.run(tmp_path, SECONDS)
    print(soak.report(seen))
    assert seen.failures == []
    assert seen.counts.keys() >= {*KINDS, *PACED_KINDS}
