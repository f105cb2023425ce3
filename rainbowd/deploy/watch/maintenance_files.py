"""The maintenance file, the pause file and the error pages: read, and compared with what was read before.

Like the release link, they are compared and not listened to, so that no change can be lost.
"""

from __future__ import annotations

import math
import pwd
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rainbowd.deploy.watch.regular_file import read_regular_file
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.watch.regular_file import FoundFile

CONTENT_BYTES = 1 << 20
SECONDS_BYTES = 64
PAUSE_TIMES = 10
"""A pause ends by itself after this many times its timeout, so that a forgotten file does not take a site down."""
PAGE_STATUSES = (502, 503, 504)

log = get_logger()


@dataclass(frozen=True)
class MaintenanceFile:
    """The maintenance file.

    Attributes:
        content: the answer to every request; empty for rainbowd's own text.
        by: the owner of the file.
    """

    content: bytes
    by: str | None


@dataclass(frozen=True)
class SiteState:
    """What the files say.

    Attributes:
        maintenance: the maintenance file; None if there is none.
        pause_seconds: how long a request is held at most; None without a pause.
        error_pages: the page of each status that has one.
    """

    maintenance: MaintenanceFile | None = None
    pause_seconds: float | None = None
    error_pages: Mapping[int, bytes] = field(default_factory=dict)


class SiteFiles:
    """The site's files, and the state of the site that they describe.

    Args:
        config: has their paths.
        on_change: called with each new state.

    Attributes:
        state: what the files said last.
        paths, due_at: see ``WatchedFiles``.
    """

    def __init__(self, config: Config, on_change: Callable[[SiteState], None]) -> None:
        rules = config.maintenance
        self.state = SiteState()
        self._maintenance = rules.file if rules is not None else None
        self._pause = config.pause_file
        self._hold_seconds = config.hold.timeout
        self._pages = (
            {} if config.error_pages is None else {code: config.error_pages / f"{code}.html" for code in PAGE_STATUSES}
        )
        self.paths = tuple(path for path in (self._maintenance, self._pause, *self._pages.values()) if path is not None)
        self.due_at = math.inf
        self._on_change = on_change
        self._found: Mapping[Path, FoundFile | None] = {}
        self._paused_since = math.inf

    def compare(self, files: Mapping[Path, FoundFile | None], now: float) -> None:
        """Read the files that have changed, and report a new state.

        Args:
            files: the state of each file, or of what is in its place; a file without a state counts as unchanged.
            now: the present moment, in seconds of a clock that never goes back.
        """
        found = {path: files.get(path, self._found.get(path)) for path in self.paths}
        state = self._read(found, now) if found != self._found else self.state
        lasts_seconds = math.inf if state.pause_seconds is None else PAUSE_TIMES * state.pause_seconds
        ends_at = self._paused_since + lasts_seconds
        if now >= ends_at:
            log.warning("the pause has ended by itself; remove the file", file=str(self._pause))
            state, ends_at = SiteState(state.maintenance, None, state.error_pages), math.inf
        self._found, self.due_at = found, ends_at
        if state != self.state:
            self.state = state
            self._on_change(state)

    def _read(self, found: Mapping[Path, FoundFile | None], now: float) -> SiteState:
        pages = {code: self._page(path) for code, path in self._pages.items() if found[path] is not None}
        return SiteState(
            self._read_maintenance(found),
            self._read_pause(found, now),
            {code: page for code, page in pages.items() if page},
        )

    def _read_maintenance(self, found: Mapping[Path, FoundFile | None]) -> MaintenanceFile | None:
        file = found.get(self._maintenance) if self._maintenance is not None else None
        if file is None or self._maintenance is None:
            return None
        return MaintenanceFile(self._page(self._maintenance), _user_name(file.owner))

    def _read_pause(self, found: Mapping[Path, FoundFile | None], now: float) -> float | None:
        """Return the seconds of the pause file; None if there is none, or if its pause has ended by itself."""
        if self._pause is None or found.get(self._pause) is None:
            self._paused_since = math.inf
            return None
        if found[self._pause] != self._found.get(self._pause):
            self._paused_since = now
        elif self.state.pause_seconds is None:
            return None
        line = (read_regular_file(self._pause, SECONDS_BYTES) or b"").partition(b"\n")[0]
        return parse_seconds(line, self._hold_seconds)

    def _page(self, path: Path) -> bytes:
        """Return the content of a file; empty if it cannot be used."""
        content = read_regular_file(path, CONTENT_BYTES + 1)
        if content is None or len(content) > CONTENT_BYTES:
            log.warning("cannot use the file: it is not a regular file of at most 1 MiB", file=str(path))
            return b""
        return content


def parse_seconds(line: bytes, default: float) -> float:
    """Return the seconds that a line contains; ``default`` if it contains no positive number."""
    try:
        seconds = float(line)
    except ValueError:
        return default
    return seconds if 0 < seconds < math.inf else default


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
