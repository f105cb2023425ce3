"""The parameters of requests: JSON bodies and query strings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rainbowd.errors import Declined
from rainbowd.report.tail import parse_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

NOTE_BYTES = 1024
BAD_REQUEST, UNSUPPORTED_TYPE = 400, 415


async def read_fields(request: Request, known: Collection[str], flag: str | None = None) -> dict[str, str]:
    """Read the fields of a JSON object; omit those that are null or false. No body counts as an empty object.

    Args:
        request: the request.
        known: the names that the object can have.
        flag: one of them, which is true or false; None for none.

    Returns:
        The values by name; ``true`` for a flag that is set.

    Raises:
        Declined: the body is something else.
    """
    body = await request.body()
    if not body:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Declined(f"Found a body of {media_type or 'no type'}; expected application/json.", UNSUPPORTED_TYPE)
    try:
        fields = json.loads(body, object_pairs_hook=_once)
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Declined("Found invalid JSON, or a key twice; expected a JSON object.", BAD_REQUEST) from None
    if not isinstance(fields, dict):
        raise Declined("Found JSON that is not an object; expected an object.", BAD_REQUEST)
    for name, value in fields.items():
        if name not in known:
            expected = " or ".join(sorted(known))
            raise Declined(f"Found an unknown field; expected {expected}.", BAD_REQUEST)
        if value is not None and not isinstance(value, bool if name == flag else str):
            expected = "true or false" if name == flag else "a string, or null"
            raise Declined(f"{name}: expected {expected}.", BAD_REQUEST)
    return {name: "true" if value is True else value for name, value in fields.items() if value not in {None, False}}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError
    return fields


def read_note(fields: dict[str, str]) -> str | None:
    """Return the deployer's note, if there is one.

    Raises:
        Declined: it is too long.
    """
    note = fields.get("note")
    if note is not None and len(note.encode()) > NOTE_BYTES:
        raise Declined(f"note: expected at most {NOTE_BYTES} bytes.", BAD_REQUEST)
    return note


def read_query(request: Request, known: Collection[str] = ()) -> dict[str, str]:
    """Return the parameters of the query string.

    Raises:
        Declined: there are others than ``known``, or one is repeated.
    """
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) < len(pairs) or not {name for name, _ in pairs} <= set(known):
        expected = " and ".join(f"?{name}=" for name in known) or "none"
        raise Declined(f"Found unknown or repeated query parameters; expected {expected}.", BAD_REQUEST)
    return dict(pairs)


def read_flag(query: dict[str, str], name: str) -> bool:
    """Return whether the query has ``?name=1``.

    Raises:
        Declined: it is neither 1 nor 0.
    """
    value = query.get(name, "0")
    if value not in {"0", "1"}:
        raise Declined(f"{name}: expected 1 or 0.", BAD_REQUEST)
    return value == "1"


def read_count(query: dict[str, str], name: str, *, default: int, most: int) -> int:
    """Return the number in ``?name=``.

    Raises:
        Declined: it is not a number from 1 to ``most``.
    """
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise Declined(f"{name}: expected a number from 1 to {most}.", BAD_REQUEST)
    return int(text)


def read_time(query: dict[str, str], name: str) -> str:
    """Return the time in ``?name=``, in UTC with milliseconds; an empty string without the parameter.

    Raises:
        Declined: it is not a time.
    """
    text = query.get(name)
    if text is None:
        return ""
    try:
        return parse_id(text).at.decode()
    except ValueError:
        raise Declined(f"{name}: expected a time such as 2026-01-01T00:00:00.000Z.", BAD_REQUEST) from None
