"""What a command prints of how a deploy was decided."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rainbowd.cli.deploy_tracker import FAILED, DeployResult
from rainbowd.cli.terminal import (
    GREEN,
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

_OF_A_HOOK = re.compile(r"the hook \w+ ")
"""How the reason begins if a hook failed, whose output it is then."""
_GAP = re.compile(r"(…|\.\.\.) ")
"""How the line begins that stands for those which were left out."""


def outcome_from_entry(entry: DeployEntry) -> DeployResult:
    """Return the outcome of a deploy in the history that is decided."""
    return DeployResult(
        result=str(entry["result"]),
        at=entry["at"],
        release=entry["release"],
        generation=entry["generation"],
        reason=entry["reason"],
        output=entry["output"] or [],
    )


def output_source(reason: str | None) -> str:
    """Return whose output a failed deploy has, by its reason: the app's or the hook's."""
    return "the hook" if _OF_A_HOOK.match(reason or "") else "the app"


def print_outcome(outcome: DeployResult, seconds: float | None, shown: AbstractSet[str] = frozenset()) -> int:
    """Print a deploy's outcome, a failure with the last lines of its output on stderr; return the exit status.

    Args:
        outcome: how it was decided.
        seconds: how long it took; None if that is not known.
        shown: the legible lines that stdout has already; a reader who sees both outputs gets none of them twice.
    """
    if outcome.result == FAILED:
        print_error(f"the deploy failed: {outcome.reason}")
        lines = _unseen(outcome.output, shown) if is_output_shared() else outcome.output
        if lines:
            print_error(f"{output_source(outcome.reason)}'s last lines:")
        for line in lines:
            print_quoted(line)
        return 1
    again = ", nothing was launched" if outcome.result == "rolled_back" else ""
    after = "" if seconds is None else f", after {seconds:.2f} s"
    release = escape_control(release_name(outcome.release or "it"))
    print_line(painter()(GREEN, f"{release} is live: generation {outcome.generation}{again}{after}"))
    return 0


def _unseen(lines: list[str], shown: AbstractSet[str]) -> list[str]:
    """Return the lines that were not shown yet, none if all that is left are gaps between lines that were."""
    left = [line for line in lines if printable(line) not in shown]
    return left if any(not _GAP.match(line) for line in left) else []
