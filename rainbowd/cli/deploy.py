"""``rainbowd deploy`` and ``rainbowd rollback``: ask by files, then tell how it goes until it is decided.

This has to start as fast as Python does: nothing but the standard library, and rich where stdout is a terminal.
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
from rainbowd.cli import deploy_request as asking
from rainbowd.cli.agent_files import (
    current_release,
    linked_release,
    live_release,
    locate,
    reject_own_deploy,
    require_agent,
)
from rainbowd.cli.deploy_request import DeployRequest
from rainbowd.cli.deploy_tracker import FAILED, DeployTracker
from rainbowd.cli.follow import AgentGone, follow
from rainbowd.cli.outcome import print_outcome
from rainbowd.cli.progress import show_progress
from rainbowd.cli.terminal import escape_control, print_error, print_line
from rainbowd.errors import UsageError
from rainbowd.release_choice import find_release, rollback_target
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from rainbowd.locations import Locations
    from rainbowd.release_link import LinkChange

GOES_ON = "the deploy goes on, and `rainbowd history` will tell how it ended"


class WaitOptions(NamedTuple):
    """How long to wait for the decision.

    Attributes:
        is_wanted: whether to wait at all.
        timeout_seconds: None for as long as it takes.
    """

    is_wanted: bool
    timeout_seconds: float | None


def deploy(config_path: Path | None, release: str | None, note: str | None, wait: WaitOptions) -> int:
    """Deploy a release, or what the files name once more.

    Args:
        config_path: of ``--config``; None looks in the working directory.
        release: a path relative to the working directory, or the bare name of a sibling of the present release.
        note: the deployer's words.
        wait: for the decision.

    Returns:
        The exit status: 0 or 1.

    Raises:
        UsageError: there is no such release, or the files are not ours to write; nothing is touched.
        NotRunning: no agent runs for this config; nothing is touched.
        TimedOut: not decided in time.
        RainbowdError: the config is broken, or the agent has gone.
    """
    locations = locate(config_path)
    if release is not None and os.path.lexists(locations.release):
        release_link.require_symlink(
            locations.release
        )  # first: beside a directory that should be a link there are no releases
    wanted = None if release is None else find_release(release, Path.cwd(), current_release(locations))
    return _ask(locations, DeployRequest(os.urandom(6).hex(), note or None, wanted), wait)


def rollback(config_path: Path | None, note: str | None, wait: WaitOptions) -> int:
    """Deploy the live release where the link names another, else the one that was live last and is another.

    Args, Returns, Raises: as ``deploy``; also where there is no such release.
    """
    locations = locate(config_path)
    release_link.require_symlink(locations.release)
    require_agent(locations.state_dir)
    live = live_release(locations.state_dir)
    target = rollback_target(
        None if live is None else Path(live), linked_release(locations.release), locations.state_dir
    )
    return _ask(locations, DeployRequest(os.urandom(6).hex(), note or None, target, is_rollback=True), wait)


def _ask(locations: Locations, request: DeployRequest, wait: WaitOptions) -> int:
    """See that it can be done, then do it."""
    require_agent(locations.state_dir)
    if wait.is_wanted:
        reject_own_deploy(locations.state_dir, "wait for a deploy")
    asking.check_request(locations, request)
    if asking.is_shortened(request):
        print_error("warning: the note is cut short: a trigger file has 1 KiB")
    with contextlib.closing(Tail(locations.state_dir, None)) as tail:
        try:
            return _carry_out(locations, request, wait, tail)
        except KeyboardInterrupt:
            print_error(f"not waiting any more: {GOES_ON}")
            return 130


def _carry_out(locations: Locations, request: DeployRequest, wait: WaitOptions, tail: Tail) -> int:
    """Write the trigger file, then turn the link, as the agent expects it; wait if that is wanted."""
    asked_at = time.time()
    trigger = asking.TriggerFile(locations.trigger_file, request)
    trigger.write()
    turned = asking.turn(locations, request)
    if not wait.is_wanted:
        print_line(f"asked for a deploy of {_named(locations, request)}: `rainbowd history` will tell how it ended")
        return 0
    tracker = DeployTracker(
        None if locations.trigger_file is None else request.id,
        None if request.release is None else str(request.release),
        _timestamp(time.time()),
    )
    try:
        with show_progress(asked_at) as progress:
            outcome = follow(
                tracker, tail, locations.state_dir, progress, trigger=trigger, timeout_seconds=wait.timeout_seconds
            )
    except AgentGone:
        _turn_back(turned)
        raise
    status = print_outcome(outcome, time.time() - asked_at, progress.shown)
    if outcome.result == FAILED:
        _turn_back(turned)
    return status


def _turn_back(turned: LinkChange | None) -> None:
    """What did not become live is not to be what the link names, and so what the next start runs."""
    if turned is not None and turned.before is not None:
        try:
            is_back = release_link.restore(turned)
        except UsageError as error:
            print_error(f"the link could not be turned back: {error}")
            return
        how = f"names {turned.before} again" if is_back else "was changed since by somebody else, and is left"
        print_error(f"the link {how}")


def _named(locations: Locations, request: DeployRequest) -> str:
    return escape_control(request.release or locations.release)


def _timestamp(seconds: float) -> str:
    """As in the journal, rounded up: what has this time there came later."""
    rounded = datetime.fromtimestamp(math.ceil(seconds * 1000) / 1000, UTC)
    return rounded.isoformat(timespec="milliseconds").replace("+00:00", "Z")
