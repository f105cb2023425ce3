"""Repair of response heads that break a rule but can be read in one way only, as nginx, HAProxy and Caddy read them.

Requests are never repaired, because another parser in front of rainbowd may have read them differently.  No parser
reads a response before rainbowd, which serialises it again for the client.  So only the app's intention matters.
"""

from __future__ import annotations

import functools
import re

from rainbowd.http1.fields import Line, read_lines

_EMPTY_LINE = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) +([1-9][0-9]{2})(?: ([^\x00\r\n]*))?\r?\n")
_STATUS_LINE_PARTS = (
    b"H",
    b"T",
    b"T",
    b"P",
    b"/",
    b"[0-9]",
    rb"\.",
    b"[0-9]",
    b" +",
    b"[1-9]",
    b"[0-9]",
    b"[0-9]",
    rb" [^\x00\r\n]*",
)
_STATUS_LINE_START = re.compile(
    functools.reduce(lambda rest, part: b"(?:%b%b)?" % (part, rest), reversed(_STATUS_LINE_PARTS), b"") + rb"\r?\Z"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_IMPOSSIBLE = re.compile(rb"\x00|\r(?!\n|\Z)")

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade"})
"""Fields that decide the framing: a control byte in one of them is ambiguous."""

_CONTROLS = bytes(code for code in (*range(1, 0x20), 0x7F) if code not in b"\t\r\n")
_WITHOUT_CONTROLS = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))


def find_repaired_end(buffer: bytes, searched_bytes: int) -> int:
    """Return the index after the first empty line of ``buffer``, whatever ends its lines, or -1 if there is none yet.

    Args:
        buffer: bytes of the app that were not consumed yet.
        searched_bytes: how much of it an earlier call has searched.
    """
    match = _EMPTY_LINE.search(buffer, max(0, searched_bytes - 2))
    return match.end() if match else -1


def find_start_error(buffer: bytes, searched_bytes: int) -> str | None:
    """Return why ``buffer``, which has no empty line yet, cannot become a head, or None if it can.

    Otherwise the proxy would wait until the time limit for an app that keeps its connection open.

    Args:
        buffer: bytes of the app that were not consumed yet.
        searched_bytes: how much of it an earlier call has searched.
    """
    line = _STATUS_LINE if b"\n" in buffer else _STATUS_LINE_START
    if not line.match(buffer):
        return "it is not HTTP"
    if _IMPOSSIBLE.search(buffer, max(0, searched_bytes - 1)):
        return "its header has a NUL byte, or a carriage return within a line"
    return None


def read_repaired_head(head: bytes) -> tuple[bytes, int, bytes, list[Line]]:
    """Repair a head, from its status line to its empty line.

    - A line may end in LF alone: RFC 9112 section 2.2.
    - Any version is accepted, and several spaces may follow it.
    - Control bytes in a reason or a field's value become spaces: RFC 9110 section 5.5.
    - Identical ``Content-Length`` become one: RFC 9110 section 8.6.
    - ``Transfer-Encoding`` overrides ``Content-Length``: RFC 9112 section 6.3.

    Returns:
        The version such as ``1.1``, the status, the reason and the field lines.

    Raises:
        ValueError: the head is still ambiguous, or cannot be read.
    """
    match = _STATUS_LINE.match(head)
    if match is None:
        raise ValueError("its status line cannot be read")
    version, status, reason = match.groups(b"")
    try:
        lines = read_repaired_lines(head[match.end() :])
    except ValueError as error:
        raise ValueError(f"its header cannot be read: {error}") from None
    return version, int(status), reason.translate(_WITHOUT_CONTROLS), lines


def read_repaired_lines(block: bytes) -> list[Line]:
    """Repair and read field lines, with the empty line that ends them.

    Raises:
        ValueError: the lines are still ambiguous, or cannot be read.
    """
    lines = [_repaired(line.removesuffix(b"\r")) for line in block.split(b"\n")[:-2]]
    return read_lines(b"\r\n".join([*_with_one_framing(lines), b"", b""]))


def _repaired(line: Line) -> Line:
    name, colon, value = line.partition(b":")
    return line if name.lower() in _FRAMING else name + colon + value.translate(_WITHOUT_CONTROLS)


def _with_one_framing(lines: list[Line]) -> list[Line]:
    """Return ``lines`` with at most one of the fields that frame the body, unless these contradict each other."""
    fields = [(line.partition(b":")[0].lower(), line) for line in lines]
    values = {
        value.strip(b" \t")
        for name, line in fields
        if name == b"content-length"
        for value in line.partition(b":")[2].split(b",")
    }
    if len(values) != 1:
        return lines
    (length,) = values
    others = [line for name, line in fields if name != b"content-length"]
    if _LENGTH.fullmatch(length) and any(name == b"transfer-encoding" for name, _ in fields):
        return others
    return [*others, b"Content-Length: %b" % length]
