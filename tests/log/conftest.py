from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Said = Callable[[], str]

PATIENCE_SECONDS = 60.0


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """What was written to stdout since the last time."""

    def read() -> str:
        assert log.flush(PATIENCE_SECONDS)
        return capfd.readouterr().out

    yield read
    log.flush(PATIENCE_SECONDS)
    log.configure("info", "auto")
