"""The outcome of a deploy, as the commands print it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rainbowd.cli.deploy_tracker import FAILED, DeployResult
from rainbowd.cli.terminal import (
    GREEN,
    SUPERSEDED,
    escape_control,
    is_output_shared,
    painter,
    print_error,
    print_line,
    print_quoted,
    printable,
    release_name,
)

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from rainbowd.report.history import DeployEntry

_HOOK_REASON = re.compile(r"the hook \w+ ")
"""The beginning of the reason if a hook failed; the output is the hook's then."""
_GAP = re.compile(r"(…|\.\.\.) ")
"""The beginning of the line that replaces lines that were left out."""


def outcome_from_entry(entry: DeployEntry) -> DeployResult:
    """Return the outcome of a deploy in the history that has ended."""
    return DeployResult(
        result=str(entry["result"]),
        at=entry["at"],
        release=entry["release"],
        generation=entry["generation"],
        reason=entry["reason"],
        output=entry["output"] or [],
        is_rollback=entry["rollback"],
    )


def output_source(reason: str | None) -> str:
    """Return whose output a failed deploy has, by the reason of the failure: the app's or the hook's."""
    return "the hook" if _HOOK_REASON.match(reason or "") else "the app"


def print_outcome(outcome: DeployResult, seconds: float | None, shown: AbstractSet[str] = frozenset()) -> int:
    """Print the outcome of a deploy; for a failure, print the last lines of its output on stderr too.

    Args:
        outcome: how the deploy ended.
        seconds: how long the deploy took; None if that is unknown.
        shown: the lines that stdout has already; a reader of both outputs gets no line twice.

    Returns:
        The exit status: 0 if the deploy succeeded, else 1.
    """
    if outcome.result == FAILED:
        reason = outcome.reason or ""
        verb = "was" if reason.startswith(SUPERSEDED) else "failed:"
        print_error(f"the deploy {verb} {reason}")
        lines = _unseen(outcome.output, shown) if is_output_shared() else outcome.output
        if lines:
            print_error(f"{output_source(reason)}'s last lines:")
        for line in lines:
            print_quoted(line)
        return 1
    release = escape_control(release_name(outcome.release or "the release"))
    success = f"rolled back to {release}" if outcome.is_rollback else f"{release} is live"
    launch = ", nothing was launched" if outcome.result == "rolled_back" else ""
    duration = "" if seconds is None else f", after {seconds:.2f} s"
    print_line(painter()(GREEN, f"{success}: generation {escape_control(outcome.generation)}{launch}{duration}"))
    return 0


def _unseen(lines: list[str], shown: AbstractSet[str]) -> list[str]:
    """Return the lines that were not shown yet; none if only markers of gaps between shown lines remain."""
    left = [line for line in lines if printable(line) not in shown]
    return left if any(not _GAP.match(line) for line in left) else []
