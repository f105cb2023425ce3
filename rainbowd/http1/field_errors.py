"""Descriptions of invalid field lines for clients, who could not understand llhttp's own."""

from __future__ import annotations

import re

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NUMBER = re.compile(rb"[0-9]+")


def describe_field_error(block: bytes) -> str:
    """Return the first reason why ``block`` is invalid or ambiguous: RFC 9112 sections 5 and 6.

    Args:
        block: the field lines that llhttp rejected, with the empty line that ends them.
    """
    lines = block.split(b"\n")[:-2]
    return next(filter(None, map(_line_error, lines)), None) or _framing_error(lines)


def _line_error(line: bytes) -> str | None:
    if not line.endswith(b"\r"):
        return "a line ends without a carriage return"
    name, colon, value = line[:-1].partition(b":")
    tests = (
        (b"\r" in name + value, "a line has a carriage return before its end"),
        (b"\x00" in line, "a line has a NUL byte"),
        (line[:1] in {b" ", b"\t"}, "a line begins with a space"),
        (not colon, "a line has no colon"),
        (name != name.rstrip(b" \t"), "a space comes before a colon"),
        (not _TOKEN.fullmatch(name), "a field name has a character that is not allowed"),
        (_CONTROL.search(value), "a field value has a control character"),
    )
    return next((error for is_found, error in tests if is_found), None)


def _framing_error(lines: list[bytes]) -> str:
    fields = [line.partition(b":") for line in lines]
    lengths = [value.strip(b" \t\r") for name, _, value in fields if name.lower() == b"content-length"]
    if not all(map(_NUMBER.fullmatch, lengths)):
        return "Content-Length is not a number"
    if len(lengths) > 1:
        return "Content-Length is repeated"
    if lengths and any(name.lower() == b"transfer-encoding" for name, _, _ in fields):
        return "it has both Content-Length and Transfer-Encoding"
    return "Content-Length is too large" if lengths else "it is not valid"
