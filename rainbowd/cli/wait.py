"""``rainbowd wait``: wait for a deploy that something else asked for, and exit as ``rainbowd deploy`` does.

A tool that only turns the link or touches the trigger file cannot know how the deploy ended.  This command follows what
it asked for.  The agent compares the files twice a second, so a request that the files show may not be in the journal
yet: as long as the link or the trigger file is newer than the last request in the journal, the command waits for that
request, but no longer than the agent needs to see it.
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
from rainbowd.cli.progress import show_progress
from rainbowd.cli.terminal import GREEN, escape_control, painter, print_error, print_line, release_name
from rainbowd.errors import TimedOut, UsageError
from rainbowd.release_choice import find_release
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events
from rainbowd.report.tail import Tail, parse_id

if TYPE_CHECKING:
    from rainbowd.locations import Locations
    from rainbowd.report.history import DeployEntry

POLL_SECONDS = 0.1
UNSEEN_SECONDS = 2.0
"""How long a request may take from the files into the journal: the agent compares the files twice a second."""


def wait(config_path: Path | None, deploy: str | None, release: str | None, timeout_seconds: float | None) -> int:
    """Wait for a deploy that something else asked for.

    Args:
        config_path: of ``--config``; None searches the working directory.
        deploy: the id of a deploy or of a request; None for the last deploy that the files ask for.
        release: wait until this one is live: a path, or the name of a directory next to the live release.
        timeout_seconds: None for as long as it takes.

    Returns:
        The exit status: 0 or 1.

    Raises:
        UsageError: there is no such deploy, or no such release.
        NotRunning: no agent is running, and so nothing will be decided.
        TimedOut: it was not decided in time.
    """
    locations = locate(config_path)
    require_agent(locations.state_dir)
    reject_own_deploy(locations.state_dir, "wait for a deploy")
    wanted = None if release is None else find_release(release, Path.cwd(), current_release(locations))
    with contextlib.closing(_Waiting(locations, timeout_seconds)) as waiting:
        try:
            if wanted is not None:
                return waiting.until_live(str(wanted))
            return waiting.until_decided(deploy)
        except KeyboardInterrupt:
            print_error("not waiting any more: the deploy goes on")
            return 130


class _Waiting:
    """What the journal and the files say, read again and again until a deadline."""

    def __init__(self, locations: Locations, timeout_seconds: float | None) -> None:
        self._locations = locations
        self._timeout_seconds = timeout_seconds
        self._began_at = time.monotonic()
        self._tail = Tail(locations.state_dir, None)  # before the rest is read: what comes meanwhile may come twice
        self._events = list(read_events(locations.state_dir, "deploy."))
        self._files_at = _changed_at(locations)

    def close(self) -> None:
        self._tail.close()

    def until_decided(self, deploy: str | None) -> int:
        """Wait for the deploy of this id, or for the last one that the files ask for."""
        while True:
            entry = self._newest() if deploy is None else self._find(deploy)
            if entry is not None and entry["result"] is None:
                return self._follow(entry)
            if entry is not None and (deploy is not None or self._is_seen()):
                return print_outcome(outcome_from_entry(entry), entry["seconds"])
            if self._is_seen() and deploy is not None:
                raise UsageError(f"no such deploy: {deploy}; `rainbowd history` lists them")
            if self._is_seen():
                print_line("no deploy is on record, and none is asked for")
                return 0
            self._pause()

    def until_live(self, release: str) -> int:
        """Wait until a release is live; a deploy of it that fails ends the wait."""
        while True:
            live = live_generation(self._locations.state_dir)
            if live is not None and live["release"] == release:
                print_line(
                    painter()(
                        GREEN,
                        f"{escape_control(release_name(release))} is live: generation {escape_control(live['id'])}",
                    )
                )
                return 0
            entry = next((entry for entry in self._entries() if entry["release"] == release), None)
            if entry is not None and entry["result"] is None:
                status = self._follow(entry)
                if status != 0:
                    return status
            elif entry is not None and entry["result"] == "failed" and self._is_seen():
                return print_outcome(outcome_from_entry(entry), entry["seconds"])
            else:
                self._pause()

    def _follow(self, entry: DeployEntry) -> int:
        """Show a deploy from its beginning to its decision."""
        asked_at = datetime.fromisoformat(entry["at"]).timestamp()
        tracker = DeployTracker.for_deploy(entry["deploy"])
        just_before = parse_id(datetime.fromtimestamp(asked_at - 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        with (
            contextlib.closing(Tail(self._locations.state_dir, just_before)) as tail,
            show_progress(asked_at) as progress,
        ):
            outcome = follow(
                tracker, tail, self._locations.state_dir, progress, trigger=None, timeout_seconds=self._remaining()
            )
        return print_outcome(outcome, time.time() - asked_at, progress.shown)

    def _entries(self) -> list[DeployEntry]:
        """Return the deploys by now, newest first."""
        events = (json.loads(line.text) for line in self._tail.read() if line.event.startswith("deploy."))
        self._events += events
        return deploys(self._events)

    def _newest(self) -> DeployEntry | None:
        return next(iter(self._entries()), None)

    def _find(self, deploy: str) -> DeployEntry | None:
        entries = self._entries()
        ids = {str(event.get("deploy")) for event in self._events if event.get("request") == deploy} | {deploy}
        return next((entry for entry in entries if entry["deploy"] in ids), None)

    def _is_seen(self) -> bool:
        """Return whether the journal has every request that the files showed when this command began."""
        if time.monotonic() - self._began_at >= UNSEEN_SECONDS:
            return True
        asked = [str(event.get("at")) for event in self._events if event["event"] == "deploy.requested"]
        return bool(asked) and datetime.fromisoformat(asked[-1]).timestamp() >= self._files_at

    def _remaining(self) -> float | None:
        if self._timeout_seconds is None:
            return None
        return max(0.0, self._began_at + self._timeout_seconds - time.monotonic())

    def _pause(self) -> None:
        if self._remaining() == 0.0:
            raise TimedOut(f"not decided within {self._timeout_seconds:g} seconds")
        require_agent(self._locations.state_dir)
        time.sleep(POLL_SECONDS)


def _changed_at(locations: Locations) -> float:
    """Return when the link or the trigger file was changed last, in seconds since the epoch."""
    times = [0.0]
    for file in (locations.release if locations.release.is_symlink() else None, locations.trigger_file):
        with contextlib.suppress(OSError):
            times += [] if file is None else [file.lstat().st_mtime]
    return max(times)
