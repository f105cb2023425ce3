"""Nothing that happens in these tests may be a bug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.proxy import acceptor, access_log, connection, fiber, reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Line = tuple[str, str, dict[str, object]]


class Log:
    """What would be logged."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Line]]:
    """The level, the event and the fields of each line; none that is left may tell of a bug."""
    log = Log()
    for module in (connection, fiber, reactor, acceptor, access_log):
        monkeypatch.setattr(module, "log", log)
    monkeypatch.setattr(access_log, "log_request", lambda fields: log.info("request", **fields))
    yield log.lines
    assert [line for line in log.lines if line[0] == "error"] == []
