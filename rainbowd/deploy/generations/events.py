"""The events of one generation, for the journal and the log, with the duration of each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.roster import State, whole_if_possible

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.interfaces import App
    from rainbowd.deploy.process import ExitReport
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Generation

log = get_logger()


class GenerationEvents:
    """The writer of one generation's events; each method is called when its event happens.

    Args:
        recorder: writes the journal.
        generation_id: the id of the generation.
        release: the release that it runs.

    Attributes:
        live_since: when it became live, by trio's clock; None if it never did.
        draining_since: when it began to drain, by trio's clock; None if it never did.
    """

    def __init__(self, recorder: Recorder, generation_id: int, release: Path) -> None:
        self.live_since: float | None = None
        self.draining_since: float | None = None
        self._recorder = recorder
        self._generation_id = generation_id
        self._release = release
        self._launched_at: float | None = None
        self._healthy_at: float | None = None
        self._drain_seconds: float | None = None

    def launched(self, app: App, deploy: str | None) -> None:
        """Record that the app runs.

        Args:
            app: its processes.
            deploy: the id of the deploy that it is launched for; None for a relaunch after a crash.
        """
        self._launched_at = trio.current_time()
        self._record(
            "generation.launched", deploy=deploy, relaunch=deploy is None, address=str(app.address), pid=app.pid
        )

    def healthy(self) -> None:
        """Record that the candidate has passed its check."""
        self._healthy_at = trio.current_time()
        self._record("generation.healthy")

    def live(self) -> None:
        """Record that new requests go to the generation."""
        before = self.live_since
        self.live_since = trio.current_time()
        self._record(
            "generation.live",
            boot_seconds=_seconds(self._launched_at, self._healthy_at),
            switch_seconds=_seconds(self._healthy_at, self.live_since) if before is None else None,
        )

    def canary(self, share_percent: float) -> None:
        """Record that the generation gets ``share_percent`` percent of the clients."""
        self._record("generation.canary", share=whole_if_possible(share_percent))

    def standby(self, seconds: float) -> None:
        """Record that the generation is kept warm for ``seconds``."""
        self._record("generation.standby", seconds=seconds)

    def draining(self) -> None:
        """Record that the generation gets no new requests."""
        self.draining_since = trio.current_time()
        self._record("generation.draining")

    def adopted(self, generation: Generation, state: State, for_seconds: float, *, is_news: bool) -> None:
        """Record that this agent has adopted the generation of an earlier one.

        Args:
            generation: the generation.
            state: the state that the earlier agent left it in.
            for_seconds: how long it has been in that state.
            is_news: False if this agent takes a generation back after a failed upgrade: then no event is written.
        """
        since = trio.current_time() - for_seconds
        if state is State.LIVE:
            self.live_since = since
        elif state is State.DRAINING:
            self.draining_since = since
        if is_news:
            self._record("generation.adopted", state=state.value, address=str(generation.address), pid=generation.pid)

    def crashed(self, reason: str, output: list[str], *, exit_status: int | None = None) -> None:
        """Record that the live generation has crashed.

        Args:
            reason: why, in words.
            output: the app's last lines, oldest first.
            exit_status: negative for a signal; None if it is unknown, or if the app still runs.
        """
        self._record("generation.crashed", log.error, exit_status=exit_status, reason=reason, output=output)

    def stopping(self) -> None:
        """Note how long the draining took; that the processes are stopped now is in the status, not in the journal."""
        self._drain_seconds = _seconds(self.draining_since, trio.current_time())
        self._recorder.status_changed()

    def retired(self, report: ExitReport, requests: int) -> None:
        """Record the end of the generation; processes that could not be ended are an error, as a person must act.

        Args:
            report: how its processes ended.
            requests: how many requests it has served.
        """
        if report.left:
            log.error(
                "processes could not be ended", generation=self._generation_id, pids=report.left, reason=report.reason
            )
        self._record(
            "generation.retired",
            log.warning if report.killed or report.left else log.info,
            exit_status=report.exit_status,
            killed=report.killed,
            drain_seconds=self._drain_seconds or 0.0,
            requests=requests,
            left=report.left,
        )

    def _record(self, event: str, log_line: Callable[..., object] | None = None, **fields: object) -> None:
        (log_line or log.info)(event, generation=self._generation_id, release=str(self._release), **fields)
        self._recorder.record(event, generation=self._generation_id, release=self._release, **fields)


def _seconds(since: float | None, until: float | None) -> float | None:
    return None if since is None or until is None else round(until - since, 3)
