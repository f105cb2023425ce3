"""The batches in which tunnels are closed."""

from __future__ import annotations

import pytest

from rainbowd.roster import TUNNELS_CLOSE_SECONDS, in_batches


@pytest.mark.parametrize("count", [1, 49, 50, 51, 1000])
def test_all_tunnels_are_closed_once_within_the_time(count: int) -> None:
    batches = list(in_batches(range(count)))
    assert [tunnel for batch, _ in batches for tunnel in batch] == list(range(count))
    assert len(batches) <= 50
    assert sum(len(batch) * TUNNELS_CLOSE_SECONDS / count for batch, _ in batches) == pytest.approx(5.0)


def test_without_tunnels_there_is_no_batch() -> None:
    assert not list(in_batches(set()))
