"""The messages of etcd's JSON gateway, version 3.4 and later: bytes in base64, 64-bit integers as strings.

The gateway ignores unknown fields silently and leaves out defaults, so every message is made and read here.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from rainbowd.fleet.engine import EngineAway, EngineError, EngineRefused, PermissionDenied, Snapshot, StoredValue

if TYPE_CHECKING:
    from collections.abc import Mapping

Message = dict[str, Any]

INVALID, DENIED, EXISTS, UNAUTHENTICATED = 3, 7, 9, 16
"""Codes of gRPC, https://grpc.io/docs/guides/status-codes; the HTTP status differs between versions of etcd."""

_TEMPORARY = {1, 4, 8, 13, 14}
"""Canceled, deadline exceeded, resource exhausted, internal, unavailable: another endpoint may answer."""


class Unauthenticated(Exception):
    """A token that has expired, or that this endpoint does not know."""


def range_request(prefix: str) -> Message:
    """Return the request for all keys that begin with ``prefix``; it is linearizable by default."""
    return {"key": _encoded(prefix), "range_end": _encoded(_after(prefix))}


def snapshot(answer: Message, prefix: str) -> Snapshot:
    """Return the snapshot that the answer to a ``range_request`` contains.

    Raises:
        EngineError: it is not what etcd answers.
    """
    try:
        entries = {
            _decoded(found["key"]).removeprefix(prefix): StoredValue(
                _decoded(found.get("value", "")), int(found["mod_revision"])
            )
            for found in answer.get("kvs", ())
        }
        return Snapshot(int(answer["header"]["revision"]), entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineError(f"found a list of keys with {type(error).__name__}; expected an answer of etcd") from None


def transaction(
    prefix: str, guards: Mapping[str, int], puts: Mapping[str, str | None], lease: int | None = None
) -> Message:
    """Return the request for a guarded transaction.

    Args:
        prefix: of all keys.
        guards: the revision that each key must still have.
        puts: the new value of each key; None deletes it.
        lease: the lease of the keys; None for none.
    """
    compare = [
        {"key": _encoded(prefix + key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        for key, revision in guards.items()
    ]
    return {"compare": compare, "success": [_operation(prefix + key, value, lease) for key, value in puts.items()]}


def _operation(key: str, value: str | None, lease: int | None) -> Message:
    if value is None:
        return {"request_delete_range": {"key": _encoded(key)}}
    put = {"key": _encoded(key), "value": _encoded(value)}
    return {"request_put": put if lease is None else {**put, "lease": str(lease)}}


def watch_request(prefix: str, revision: int) -> Message:
    """Return the request to watch all keys that begin with ``prefix``, from the revision after ``revision``."""
    return {"create_request": {**range_request(prefix), "start_revision": str(revision + 1)}}


def watched_keys(line: str, prefix: str) -> list[str] | None:
    """Return the keys that a line of a watch reports as changed; None if the watch has ended: its stream may last.

    Args:
        line: one JSON object.
        prefix: of all keys, which is left out.
    """
    message = _object(line)
    result = None if message is None else message.get("result")
    if not isinstance(result, dict) or result.get("canceled"):
        return None
    try:
        return [_decoded(event.get("kv", {}).get("key", "")).removeprefix(prefix) for event in result.get("events", ())]
    except (AttributeError, TypeError, ValueError):
        return None


def raise_error(status: int, text: str) -> None:
    """Raise the error of an answer other than 200.

    Args:
        status: of HTTP.
        text: the body: JSON of one of two forms, or plain text.

    Raises:
        Unauthenticated: the token is not valid.
        PermissionDenied: the user has no right to do this.
        EngineRefused: the request or the password was not accepted.
        EngineAway: this endpoint cannot answer.
    """
    code, message = _problem(text)
    shown = message or f"HTTP status {status}"
    if code == UNAUTHENTICATED or (status == 401 and code is None):  # noqa: PLR2004
        raise Unauthenticated(shown)
    if code == DENIED:
        raise PermissionDenied(shown)
    if code in _TEMPORARY or (code is None and status >= 500):  # noqa: PLR2004
        raise EngineAway(shown)
    raise EngineRefused(shown)


def has_lease(text: str) -> bool:
    """Return whether an error means that the lease that was requested exists already."""
    return "lease already exists" in _problem(text)[1]


def _problem(text: str) -> tuple[int | None, str]:
    """Return the code of gRPC, if there is one, and the message."""
    body = _object(text)
    if body is None:
        return None, text.strip()[:200]
    code = body.get("code")
    message = str(body.get("message") or body.get("error") or "")
    return code if isinstance(code, int) else None, message[:200]


def parse(text: str) -> Message:
    """Return the body of an answer.

    Raises:
        EngineError: it is not what etcd answers.
    """
    body = _object(text)
    if body is None:
        raise EngineError(f"found {text[:60]!r}; expected an answer of etcd")
    return body


def _object(text: str) -> Message | None:
    """Return the JSON object that ``text`` is; None if it is something else."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode(errors="replace")


def _after(prefix: str) -> str:
    """Return the first key after all that begin with ``prefix``, which ends in a slash."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
