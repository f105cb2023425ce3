"""``rainbowd show``: print one deploy with its steps and output, whether an agent is running or not."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate
from rainbowd.cli.deploy_tracker import DeployTracker
from rainbowd.cli.history import describe_entry_result, format_utc
from rainbowd.cli.outcome import output_source
from rainbowd.cli.progress_printer import ProgressPrinter
from rainbowd.cli.terminal import DIM, escape_control, painter, printable, release_name
from rainbowd.errors import UsageError
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.history import DeployEntry
    from rainbowd.report.journal import Event

LEAST_CHARACTERS = 4
"""The shortest beginning of an id that is accepted."""


def show(config_path: Path | None, deploy: str | None, *, as_json: bool) -> int:
    """Print a deploy with its steps and its output.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        deploy: the id of the deploy or its beginning, or the id of a request; None for the last deploy.
        as_json: print an object as in ``rainbowd history --json``, with the ``events`` of the deploy.

    Returns:
        The exit status, 0.

    Raises:
        UsageError: no deploy matches, or more than one.
        RainbowdError: the config is invalid, or the journal cannot be read.
    """
    state_dir = locate(config_path).state_dir
    events = list(read_events(state_dir))
    entry = _find(deploys(events), events, deploy)
    ours = DeployTracker.for_deploy(entry["deploy"]).read(events)
    if as_json:
        print(json.dumps({**entry, "events": ours}, indent=2))
        return 0
    for line in _readable(entry, ours, _boot_output(state_dir, entry)):
        print(line)
    return 0


def _find(entries: list[DeployEntry], events: list[Event], deploy: str | None) -> DeployEntry:
    if deploy is None:
        if not entries:
            raise UsageError("no deploys recorded")
        return entries[0]
    requested = {str(event.get("deploy")) for event in events if event.get("request") == deploy}
    found = [entry for entry in entries if entry["deploy"] == deploy or entry["deploy"] in requested]
    if not found and len(deploy) >= LEAST_CHARACTERS:
        found = [entry for entry in entries if entry["deploy"].startswith(deploy)]
    if not found:
        raise UsageError(f"no such deploy: {deploy}; `rainbowd history` lists them")
    if len(found) > 1:
        raise UsageError(f"{deploy} is the beginning of {len(found)} deploys; give a longer id")
    return found[0]


def _readable(entry: DeployEntry, events: list[Event], boot: list[str]) -> list[str]:
    paint = painter()
    result, style = describe_entry_result(entry)
    after = "" if entry["seconds"] is None else f" after {entry['seconds']:.2f} s"
    deploy, release = escape_control(entry["deploy"]), escape_control(release_name(entry["release"] or "-"))
    lines = [
        f"deploy {deploy} of {release}: {paint(style, result)}{after}",
        paint(DIM, f"requested {format_utc(entry['at'])} UTC, {escape_control(entry['release'] or 'no release')}"),
    ]
    steps = ProgressPrinter(datetime.fromisoformat(entry["at"]).timestamp())
    for event in events:
        lines += filter(None, [steps.step(event)])
        if event["event"] == "hook.ended":
            lines += _indented(event.get("output"))
    if entry["reason"]:
        lines.append(f"reason: {escape_control(entry['reason'])}")
    output = entry["output"] or boot
    if output and output_source(entry["reason"]) == "the app":  # a hook's stands below its step
        lines += ["the app's output:", *_indented(output)]
    return lines


def _indented(output: object) -> list[str]:
    return [f"    {printable(str(line))}" for line in output] if isinstance(output, list) else []


def _boot_output(state_dir: Path, entry: DeployEntry) -> list[str]:
    """Return the output of the generation until it was live; empty if it was removed."""
    try:
        with open_to_read(state_dir / f"generation-{entry['generation']}.boot") as file:
            return file.read().decode(errors="backslashreplace").splitlines()
    except OSError:
        return []
