"""What the supervisor knows at one moment, for those who report it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.deploys.progress import Progress
    from rainbowd.deploy.generations.crash_count import CrashCount
    from rainbowd.deploy.records import LastOutcome
    from rainbowd.roster import KeptProcesses


@dataclass(frozen=True)
class DeploySnapshot:
    """The deploys of an agent at one moment.

    Attributes:
        link: the path of the release link, or of the plain directory.
        named_release: the release that the files named when they were last read; None if they named none.
        previous_release: the release that was live before the live one; None if there was none.
        deploying: the deploy that is under way; None if there is none.
        progress: its current step; None if there is none.
        last_outcome: the outcome of the last deploy, of this agent or an earlier one; None if there was none.
        crashes: the crashes of the live app since the last deploy; None if there were none.
        crashed_seconds: how long ago the last of them was.
        kept: the companion processes that go on while their app is launched again; None if there are none.
        is_waiting: whether there was never a release yet, and the agent waits for the first one.
    """

    link: Path
    named_release: Path | None = None
    previous_release: Path | None = None
    deploying: Deploy | None = None
    progress: Progress | None = None
    last_outcome: LastOutcome | None = None
    crashes: CrashCount | None = None
    crashed_seconds: float = 0.0
    kept: KeptProcesses | None = None
    is_waiting: bool = False
