from __future__ import annotations

import gc
import weakref

from rainbowd.proxy.garbage import seldom_collected


class Node:
    """Of a cycle."""

    def __init__(self) -> None:
        self.self = self


def test_what_requests_leave_is_collected_though_seldom_and_all_is_as_before_in_the_end() -> None:
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.get_freeze_count() > 0
        first = weakref.ref(Node())
        others = [[] for _ in range(before[0] * 2)]  # type: ignore[var-annotated]
        assert first() is not None
        others += [[] for _ in range(gc.get_threshold()[0])]
        assert first() is None
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
