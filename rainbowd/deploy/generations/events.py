"""What the journal and the log are told of one generation, with how long each part of its life took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.interfaces import App
    from rainbowd.deploy.process import ExitReport
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Generation

log = get_logger()


class GenerationEvents:
    """Of the generation ``number``; what is told here happens now.

    Attributes:
        live_since: when it became live, by trio's clock; None where it never did.
        draining_since: the same of its draining.
    """

    def __init__(self, recorder: Recorder, number: int, release: Path) -> None:
        self.live_since: float | None = None
        self.draining_since: float | None = None
        self._recorder = recorder
        self._number = number
        self._release = release
        self._launched_at: float | None = None
        self._healthy_at: float | None = None
        self._drain_seconds: float | None = None

    def launched(self, app: App, deploy: str | None) -> None:
        """Its gate is open; without a deploy, it takes the place of one that died."""
        self._launched_at = trio.current_time()
        self._tell("generation.launched", deploy=deploy, relaunch=deploy is None, address=str(app.address), pid=app.pid)

    def healthy(self) -> None:
        """It passed its check."""
        self._healthy_at = trio.current_time()
        self._tell("generation.healthy")

    def live(self) -> None:
        """New requests go to it."""
        before = self.live_since
        self.live_since = trio.current_time()
        self._tell(
            "generation.live",
            boot_seconds=_seconds(self._launched_at, self._healthy_at),
            switch_seconds=_seconds(self._healthy_at, self.live_since) if before is None else None,
        )

    def standby(self, seconds: float) -> None:
        """It is kept warm for so long."""
        self._tell("generation.standby", seconds=seconds)

    def draining(self) -> None:
        """It gets no new requests."""
        self.draining_since = trio.current_time()
        self._tell("generation.draining")

    def adopted(self, generation: Generation, state: State, for_seconds: float, *, is_news: bool) -> None:
        """An earlier agent launched it, and left it in ``state``, which it has been in for so long."""
        since = trio.current_time() - for_seconds
        if state is State.LIVE:
            self.live_since = since
        elif state is State.DRAINING:
            self.draining_since = since
        if is_news:
            self._tell("generation.adopted", state=state.value, address=str(generation.address), pid=generation.pid)

    def crashed(self, reason: str, output: list[str], *, exit_status: int | None = None) -> None:
        """It was live, and is dead."""
        self._tell("generation.crashed", log.error, exit_status=exit_status, reason=reason, output=output)

    def stopping(self) -> None:
        """It is told to end."""
        self._drain_seconds = _seconds(self.draining_since, trio.current_time())

    def retired(self, ending: ExitReport, requests: int) -> None:
        """It is at its end; what could not be ended is an error, as it needs a person."""
        if ending.left:
            log.error("could not be ended", generation=self._number, pids=ending.left, why=ending.why)
        self._tell(
            "generation.retired",
            log.warning if ending.killed or ending.left else log.info,
            exit_status=ending.exit_status,
            killed=ending.killed,
            drain_seconds=self._drain_seconds or 0.0,
            requests=requests,
            left=ending.left,
        )

    def _tell(self, event: str, say: Callable[..., object] | None = None, **fields: object) -> None:
        (say or log.info)(event, generation=self._number, release=str(self._release), **fields)
        self._recorder.record(event, generation=self._number, release=self._release, **fields)


def _seconds(since: float | None, until: float | None) -> float | None:
    return None if since is None or until is None else round(until - since, 3)
