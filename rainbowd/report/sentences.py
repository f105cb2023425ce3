"""The sentences for the journal's events and the status's warnings, on a terminal and on the API's page.

The sentences are data, so that the page can fill them in by the same rules, in ``browser/story.js``: ``{key}`` is a
field of the event, ``{name}`` the short name of its release, and ``{winner}`` of the release that superseded it.
``[...]`` is left out if a field in it is missing, null or false.  A field that is true is replaced by its own name.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTENCES = {
    "agent.started": "rainbowd {version} started, pid {pid}",
    "agent.stopped": "rainbowd stopped",
    "agent.upgraded": "rainbowd {version} took over, pid {pid}",
    "agent.upgrade_failed": "the upgrade failed: {reason}",
    "agent.maintenance": "maintenance began[, by {by}]",
    "agent.maintenance_ended": "maintenance ended",  # agent.maintenance with on: false
    "deploy.requested": "[{name} ]requested[ by {by}] ({trigger}[, {rollback}])[: {note}]",
    "deploy.waiting": "the deploy is waiting: {reason}",
    "deploy.succeeded": "the deploy[ of {name}] succeeded[ ({rollback})]",
    "deploy.rolled_back": "rolled back[ to {name}]: nothing was launched",
    "deploy.failed": "the deploy[ of {name}] failed: {reason}",
    "deploy.superseded": "{winner} superseded the deploy[ of {name}]",  # deploy.failed with superseded_by
    "link.restored": "the link points to {name} again, because the deploy failed",
    "fleet.joined": "joined the fleet {fleet} as {member}",
    "fleet.turn": "rollout {rollout}, wave {wave}: a turn for {name} ({state})",
    "fleet.reported": "rollout {rollout}, wave {wave}: {name} is {state}[: {reason}]",
    "fleet.converged": "came to the release of the fleet: {name}",
    "fleet.engine_away": "the fleet's engine is away: {reason}",
    "fleet.engine_back": "the fleet's engine is back",
    "hook.ended": "{hook} ended[: {reason}]",
    "generation.launched": "launched {name} as generation {generation}[, pid {pid}][, {address}]",
    "generation.healthy": "generation {generation} is healthy",
    "generation.canary": "generation {generation} gets {share} % of the clients",
    "generation.live": "generation {generation} is live: new requests go to it",
    "generation.standby": "generation {generation} is on standby[ for {seconds} s]",
    "generation.draining": "generation {generation} is draining: it finishes its requests",
    "generation.crashed": "generation {generation} crashed[: {reason}]",
    "generation.adopted": "generation {generation} adopted: it is {state}[, pid {pid}]",
    "process.started": "{process} {instance} of generation {generation} started, pid {pid}",
    "process.exited": "{process} {instance} of generation {generation} exited[, status {exit_status}][, {killed}]"
    "[, still running: {left}][: {reason}]",
    "process.restarting": "{process} is restarted[ by {by}]",
    "worker.exited": "worker {worker} exited, pid {pid}[, status {exit_status}]",
    "worker.started": "worker {worker} started again, pid {pid}",
    "generation.retired": (
        "generation {generation} retired after {requests} requests[, {killed}][, still running: {left}]"
    ),
}
"""The sentence for each event; other events have none."""

WARNINGS = {
    "dead": "nothing is live",
    "waiting": "waiting for the first release: {release} does not exist yet",
    "crashed": "{name} crashed {times} since it went live, last: {reason}[; `rainbowd rollback` goes back to {back}]",
    "process": "{process} keeps exiting: {times} in a row; the log has its output",
    "disk": "cannot write {file} in the state directory: {reason}",
    "gone": "the live release's directory no longer exists: {release}",
    "left": "these processes could not be stopped: {left}; stop them manually",
    "missing": "the release link does not exist, but {release} is live",
    "other": "the release link points to {wanted}, but {release} is live",
}

_OPTION = re.compile(r"\[([^][]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")


def sentence(event: Mapping[str, object]) -> str:
    """Return the sentence for an event; empty if it has none.

    Args:
        event: an event of the journal.
    """
    winner = _name(event.get("superseded_by"))
    kind = "deploy.superseded" if winner else str(event.get("event"))
    if event.get("on") is False:
        kind += "_ended"
    return fill(SENTENCES.get(kind, ""), {**event, "name": _name(event.get("release")), "winner": winner})


def _name(release: object) -> str:
    return os.path.basename(str(release)) if release else ""  # noqa: PTH119 - pathlib is not needed for this


def fill(template: str, fields: Mapping[str, object]) -> str:
    """Return a template with its fields filled in.

    Args:
        template: a value of ``SENTENCES`` or ``WARNINGS``.
        fields: the values by name; missing ones are empty.
    """

    def values(text: str) -> list[str]:
        return [_text(key, fields.get(key)) for key in _FIELD.findall(text)]

    kept = _OPTION.sub(lambda option: option[1] if all(values(option[1])) else "", template)
    return _FIELD.sub(lambda field: _text(field[1], fields.get(field[1])), kept)


def _text(key: str, value: object) -> str:
    if value is True:
        return key
    if value is None or value is False:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
