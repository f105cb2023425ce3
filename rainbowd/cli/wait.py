"""``rainbowd wait``: wait for a deploy that something else requested, and exit like ``rainbowd deploy``.

A tool that only switches the link or touches the trigger file cannot know how the deploy ended.  This command follows
that deploy.  The agent compares the files twice a second, so the journal may not contain the request yet.  As long as
the link or the trigger file is newer than the last request in the journal, the command waits for the request.  It
waits no longer than the agent needs to see it.
"""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import current_release, live_generation, locate, reject_own_deploy, require_agent
from rainbowd.cli.deploy_tracker import DeployTracker
from rainbowd.cli.follow import follow
from rainbowd.cli.outcome import outcome_from_entry, print_outcome
from rainbowd.cli.progress_printer import show_progress
from rainbowd.cli.terminal import GREEN, INTERRUPTED, escape_control, painter, print_error, print_line, release_name
from rainbowd.errors import TimedOut, UsageError
from rainbowd.release_choice import find_release
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events
from rainbowd.report.tail import Tail, parse_id

if TYPE_CHECKING:
    from rainbowd.config_paths import ConfigPaths
    from rainbowd.report.history import DeployEntry

POLL_SECONDS = 0.1
UNSEEN_SECONDS = 2.0
"""How long it takes at most until a request through files is in the journal: the agent reads them twice a second."""


def wait(config_path: Path | None, deploy: str | None, release: str | None, timeout_seconds: float | None) -> int:
    """Wait for a deploy that something else requested.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        deploy: the id of a deploy or of a request; None for the last deploy that the files request.
        release: wait until this release is live: a path, or the name of a directory next to the live release.
        timeout_seconds: the limit in seconds; None waits as long as it takes.

    Returns:
        The exit status: 0 or 1.

    Raises:
        UsageError: the deploy or the release does not exist.
        NotRunning: no agent is running that could carry out a deploy.
        TimedOut: the deploy had no outcome in time.
    """
    paths = locate(config_path)
    require_agent(paths.state_dir)
    reject_own_deploy(paths.state_dir, "wait for a deploy")
    wanted = None if release is None else find_release(release, Path.cwd(), current_release(paths))
    with contextlib.closing(_Waiting(paths, timeout_seconds)) as waiting:
        try:
            if wanted is not None:
                return waiting.until_live(str(wanted))
            return waiting.until_decided(deploy)
        except KeyboardInterrupt:
            print_error("stopped waiting; the deploy continues")
            return INTERRUPTED


class _Waiting:
    """The journal and the files, polled until the deploy has an outcome or the time is up."""

    def __init__(self, paths: ConfigPaths, timeout_seconds: float | None) -> None:
        self._paths = paths
        self._timeout_seconds = timeout_seconds
        self._began_at = time.monotonic()
        self._tail = Tail(paths.state_dir, None)  # opened first: an event may be read twice, but is not missed
        self._events = list(read_events(paths.state_dir, "deploy."))
        self._files_at = _changed_at(paths)

    def close(self) -> None:
        """Close the journal, which was read."""
        self._tail.close()

    def until_decided(self, deploy: str | None) -> int:
        """Wait for the deploy with this id, or for the last deploy that the files request."""
        while True:
            entry = self._newest() if deploy is None else self._find(deploy)
            if entry is not None and entry["result"] is None:
                return self._follow(entry)
            if entry is not None and (deploy is not None or self._has_all_requests()):
                return print_outcome(outcome_from_entry(entry), entry["seconds"])
            if self._has_all_requests() and deploy is not None:
                raise UsageError(f"no such deploy: {deploy}; `rainbowd history` lists them")
            if self._has_all_requests():
                print_line("no deploys recorded, and no deploy requested")
                return 0
            self._pause()

    def until_live(self, release: str) -> int:
        """Wait until a release is live, or a deploy of it fails."""
        while True:
            live = live_generation(self._paths.state_dir)
            if live is not None and live["release"] == release:
                name, generation = escape_control(release_name(release)), escape_control(live["id"])
                print_line(painter()(GREEN, f"{name} is live: generation {generation}"))
                return 0
            entry = next((entry for entry in self._entries() if entry["release"] == release), None)
            if entry is not None and entry["result"] is None:
                status = self._follow(entry)
                if status != 0:
                    return status
            elif entry is not None and entry["result"] == "failed" and self._has_all_requests():
                return print_outcome(outcome_from_entry(entry), entry["seconds"])
            else:
                self._pause()

    def _follow(self, entry: DeployEntry) -> int:
        """Show a deploy from its request to its outcome."""
        requested_at = datetime.fromisoformat(entry["at"]).timestamp()
        tracker = DeployTracker.for_deploy(entry["deploy"])
        just_before = parse_id(datetime.fromtimestamp(requested_at - 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        with (
            contextlib.closing(Tail(self._paths.state_dir, just_before)) as tail,
            show_progress(requested_at) as progress,
        ):
            try:
                outcome = follow(
                    tracker, tail, self._paths.state_dir, progress, trigger=None, timeout_seconds=self._remaining()
                )
            except TimedOut:
                raise self._timed_out("; the deploy continues") from None
        return print_outcome(outcome, time.time() - requested_at, progress.shown)

    def _entries(self) -> list[DeployEntry]:
        """Return the deploys so far, newest first."""
        events = (json.loads(line.text) for line in self._tail.read() if line.event.startswith("deploy."))
        self._events += events
        return deploys(self._events)

    def _newest(self) -> DeployEntry | None:
        return next(iter(self._entries()), None)

    def _find(self, deploy: str) -> DeployEntry | None:
        entries = self._entries()
        ids = {str(event.get("deploy")) for event in self._events if event.get("request") == deploy} | {deploy}
        return next((entry for entry in entries if entry["deploy"] in ids), None)

    def _has_all_requests(self) -> bool:
        """Return whether the journal contains every request that the files showed when this command started."""
        if time.monotonic() - self._began_at >= UNSEEN_SECONDS:
            return True
        requests_at = [str(event.get("at")) for event in self._events if event["event"] == "deploy.requested"]
        return bool(requests_at) and datetime.fromisoformat(requests_at[-1]).timestamp() >= self._files_at

    def _remaining(self) -> float | None:
        if self._timeout_seconds is None:
            return None
        return max(0.0, self._began_at + self._timeout_seconds - time.monotonic())

    def _timed_out(self, more: str = "") -> TimedOut:
        return TimedOut(f"no outcome within {self._timeout_seconds:g} seconds{more}")

    def _pause(self) -> None:
        if self._remaining() == 0.0:
            raise self._timed_out()
        require_agent(self._paths.state_dir)
        time.sleep(POLL_SECONDS)


def _changed_at(paths: ConfigPaths) -> float:
    """Return when the link or the trigger file was last changed, in seconds since the epoch."""
    times = [0.0]
    for file in (paths.release if paths.release.is_symlink() else None, paths.trigger_file):
        with contextlib.suppress(OSError):
            times += [] if file is None else [file.lstat().st_mtime]
    return max(times)
