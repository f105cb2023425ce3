"""The warnings in ``status.json``: one sentence each, with what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rainbowd.deploy.generations.companion import CRASH_LOOP_EXITS
from rainbowd.deploy.process import survivors
from rainbowd.report.sentences import WARNINGS, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rainbowd.deploy.deploys.snapshot import DeploySnapshot
    from rainbowd.deploy.generations.crash_count import CrashCount
    from rainbowd.roster import Generation, ProcessStatus

RECENT_SECONDS = 3600.0


def warnings(live: Generation | None, deploys: DeploySnapshot) -> Iterator[tuple[str, str]]:
    """Yield the kind and the sentence of each warning.

    Args:
        live: the live generation; None if nothing is live.
        deploys: the supervisor's snapshot.
    """
    if deploys.is_waiting:
        yield "waiting", fill(WARNINGS["waiting"], {"release": deploys.link})
        return
    if live is None:
        yield "dead", WARNINGS["dead"]
    elif deploys.deploying is None:  # a deploy in progress is about to change it
        yield from _difference(live, deploys)
    yield from _crash_loops(live.processes if live is not None else deploys.kept.processes if deploys.kept else [])
    if left := survivors():
        yield "left", fill(WARNINGS["left"], {"left": left})
    crashes = deploys.crashes
    if crashes is not None and (live is None or deploys.crashed_seconds < RECENT_SECONDS):
        yield "crashed", _crashed(crashes, deploys.previous_release)


def _difference(live: Generation, deploys: DeploySnapshot) -> Iterator[tuple[str, str]]:
    named = deploys.named_release
    if named is None:
        yield "missing", fill(WARNINGS["missing"], {"release": live.release})
    elif _resolved(deploys.link, named) != str(live.release):
        yield "other", fill(WARNINGS["other"], {"wanted": named, "release": live.release})


def _resolved(link: Path, named: Path) -> str:
    """Return ``named``, which is as written if the link dangles, in the form of the live generation's release."""
    return os.path.normpath(os.path.join(os.path.realpath(link.parent), named))  # noqa: PTH118 - of a path that is gone


def _crash_loops(processes: Sequence[ProcessStatus]) -> Iterator[tuple[str, str]]:
    names = [process.name for process in processes]
    for process in processes:
        if process.exits_in_a_row >= CRASH_LOOP_EXITS:
            name = process.name if names.count(process.name) == 1 else f"{process.name}.{process.instance}"
            fields = {"process": name, "times": f"{process.exits_in_a_row} times"}
            yield "process", fill(WARNINGS["process"], fields)


def _crashed(crashes: CrashCount, previous: Path | None) -> str:
    fields = {
        "name": crashes.release.name,
        "times": "once" if crashes.count == 1 else f"{crashes.count} times",
        "reason": crashes.reason,
        "back": None if previous is None or previous == crashes.release else previous.name,
    }
    return fill(WARNINGS["crashed"], fields)
