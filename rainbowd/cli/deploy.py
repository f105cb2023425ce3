"""``rainbowd deploy`` and ``rainbowd rollback``: request a deploy by files, and show it until it has an outcome.

This must start as fast as Python does, so it imports only the standard library, and rich if stdout is a terminal.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rainbowd import release_link
from rainbowd.cli.agent_files import (
    current_release,
    linked_release,
    live_release,
    locate,
    reject_own_deploy,
    require_agent,
)
from rainbowd.cli.deploy_request import DeployRequest, TriggerFile, check_request, is_shortened, switch_link
from rainbowd.cli.deploy_tracker import FAILED, DeployTracker
from rainbowd.cli.follow import AgentGone, follow
from rainbowd.cli.outcome import print_outcome
from rainbowd.cli.progress_printer import show_progress
from rainbowd.cli.terminal import INTERRUPTED, escape_control, print_error, print_line
from rainbowd.errors import UsageError
from rainbowd.release_choice import find_release, rollback_target
from rainbowd.report.tail import Tail
from rainbowd.timestamp import timestamp

if TYPE_CHECKING:
    from rainbowd.config_paths import ConfigPaths
    from rainbowd.release_link import LinkChange


class WaitOptions(NamedTuple):
    """Whether a command waits for the outcome of its deploy, and how long.

    Attributes:
        is_wanted: wait for the outcome.
        timeout_seconds: the limit in seconds; None waits as long as it takes.
    """

    is_wanted: bool
    timeout_seconds: float | None


def deploy(
    config_path: Path | None, release: str | None, note: str | None, wait: WaitOptions, *, is_now: bool = False
) -> int:
    """Deploy a release, or the release that the link names again.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        release: a path relative to the working directory, or the name of a directory next to the live release.
        note: a remark of the deployer.
        wait: whether to wait for the outcome, and how long.
        is_now: whether the deploy skips canary and bake.

    Returns:
        The exit status: 0 or 1.

    Raises:
        UsageError: the release does not exist, or this user cannot write the files; nothing was changed.
        NotRunning: no agent is running with this config; nothing was changed.
        TimedOut: the deploy had no outcome in time.
        RainbowdError: the config is invalid, or the agent exited.
    """
    paths = locate(config_path)
    if release is not None and os.path.lexists(paths.release):
        release_link.require_symlink(paths.release)  # first: next to a real directory there are no releases
    wanted = None if release is None else find_release(release, Path.cwd(), current_release(paths), paths.release)
    return _request(paths, DeployRequest(os.urandom(6).hex(), note or None, wanted, is_now=is_now), wait)


def rollback(config_path: Path | None, note: str | None, wait: WaitOptions) -> int:
    """Deploy the release that was live before; if the link names another than the live release, the live release.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        note: a remark of the deployer.
        wait: whether to wait for the outcome, and how long.

    Returns:
        The exit status: 0 or 1.

    Raises:
        RainbowdError: no other release was live before, and as ``deploy``.
        UsageError: the directory of that release no longer exists, and as ``deploy``.
    """
    paths = locate(config_path)
    release_link.require_symlink(paths.release)
    require_agent(paths.state_dir)
    live = live_release(paths.state_dir)
    target = rollback_target(None if live is None else Path(live), linked_release(paths.release), paths.state_dir)
    request = DeployRequest(os.urandom(6).hex(), note or None, target, is_rollback=True)
    return _request(paths, request, wait)


def _request(paths: ConfigPaths, request: DeployRequest, wait: WaitOptions) -> int:
    """Check that a request is possible before anything is changed, then make it."""
    require_agent(paths.state_dir)
    if wait.is_wanted:
        reject_own_deploy(paths.state_dir, "wait for a deploy")
    check_request(paths, request)
    if is_shortened(request):
        print_error("warning: the note is shortened, because a trigger file holds only 1 KiB")
    with contextlib.closing(Tail(paths.state_dir, None)) as tail:
        try:
            return _carry_out(paths, request, wait, tail)
        except KeyboardInterrupt:
            print_error("stopped waiting; the deploy continues: `rainbowd history` shows its outcome")
            return INTERRUPTED


def _carry_out(paths: ConfigPaths, request: DeployRequest, wait: WaitOptions, tail: Tail) -> int:
    """Write the trigger file, then switch the link, in the order that the agent expects; wait if that is wanted."""
    requested_at = time.time()
    trigger = TriggerFile(paths.trigger_file, request)
    trigger.write()
    link_change = switch_link(paths, request)
    if not wait.is_wanted:
        release = escape_control(request.release or paths.release)
        print_line(f"requested a deploy of {release}: `rainbowd history` shows its outcome")
        return 0
    tracker = DeployTracker(
        None if paths.trigger_file is None else request.id,
        None if request.release is None else str(request.release),
        _timestamp(time.time()),
    )
    try:
        with show_progress(requested_at) as progress:
            outcome = follow(
                tracker,
                tail,
                paths.state_dir,
                progress,
                trigger=trigger,
                timeout_seconds=wait.timeout_seconds,
            )
    except AgentGone as gone:
        if not gone.is_continued:
            _restore_link(link_change)
        raise
    status = print_outcome(outcome, time.time() - requested_at, progress.shown)
    if outcome.result == FAILED:
        _restore_link(link_change)
    return status


def _restore_link(change: LinkChange | None) -> None:
    """Point the link back to where it pointed before: the next start would run the release that failed."""
    if change is None or change.before is None:
        return
    try:
        is_restored = release_link.restore(change)
    except UsageError as error:
        print_error(f"cannot restore the link: {error}")
        return
    if is_restored:
        print_error(f"the link points to {change.before} again")
    else:
        print_error("the link was left alone, because someone else has changed it since")


def _timestamp(seconds: float) -> str:
    """Return a time as the journal writes it, rounded up: an event with this time happened later."""
    return timestamp(datetime.fromtimestamp(math.ceil(seconds * 1000) / 1000, UTC))
