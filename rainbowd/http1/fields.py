"""Field lines, and the rule of the proxy for each field name."""

from __future__ import annotations

import enum
import re

import httptools

from rainbowd.http1.field_errors import describe_field_error

Line = bytes
"""A field line as it was sent, without its CRLF."""

PROTECTED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"forwarded", b"x-real-ip", b"client-ip", b"x-request-id"}
    | {b"x-request-start"}
)
"""Names that a ``Connection`` field cannot remove, because the app trusts the values that rainbowd sends."""

NAME_BYTES = 256
"""The longest field name."""
OPTIONS_MAX = 32
"""The largest number of options in the ``Connection`` fields of one message."""

_FORWARDED_PREFIX = b"x-forwarded-"
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_KNOWN_NAMES_MAX = 4096
_KNOWN_VALUES_MAX = 256
_KNOWN_VALUE_BYTES = 256
"""Longer values are not cached, so that clients cannot fill the memory."""

_AS_CGI = bytes(code if chr(code).isalnum() and code < 0x80 else 0x2D for code in range(256))  # noqa: PLR2004 - ASCII


def has_bare_lf(data: bytes | bytearray, at: int) -> bool:
    """Return whether a line that ends after index ``at`` has no carriage return. A regex would be far slower."""
    return data.count(b"\n", at) != data.count(b"\r\n", at - 1 if at else 0)


class Rule(enum.IntEnum):
    """The rules for fields that are not relayed unchanged."""

    __hash__ = int.__hash__  # an enum's own hash is a Python call, for every field that has a rule

    DROP = enum.auto()
    AMBIGUOUS = enum.auto()
    HOST = enum.auto()
    CONNECTION = enum.auto()
    CONTENT_LENGTH = enum.auto()
    TRANSFER_ENCODING = enum.auto()
    UPGRADE = enum.auto()
    EXPECT = enum.auto()
    TE = enum.auto()
    TRAILER = enum.auto()
    MAX_FORWARDS = enum.auto()
    DATE = enum.auto()
    FORWARDED_FOR = enum.auto()
    FORWARDED_PROTO = enum.auto()
    FORWARDED_HOST = enum.auto()
    REQUEST_ID = enum.auto()
    REQUEST_START = enum.auto()
    FORWARDED_OTHER = enum.auto()


_RULES = {
    b"host": Rule.HOST,
    b"connection": Rule.CONNECTION,
    b"content-length": Rule.CONTENT_LENGTH,
    b"transfer-encoding": Rule.TRANSFER_ENCODING,
    b"upgrade": Rule.UPGRADE,
    b"expect": Rule.EXPECT,
    b"te": Rule.TE,
    b"trailer": Rule.TRAILER,
    b"max-forwards": Rule.MAX_FORWARDS,
    b"date": Rule.DATE,
    b"keep-alive": Rule.DROP,
    b"proxy-connection": Rule.DROP,
    b"http2-settings": Rule.DROP,
    b"x-forwarded-for": Rule.FORWARDED_FOR,
    b"x-forwarded-proto": Rule.FORWARDED_PROTO,
    b"x-forwarded-host": Rule.FORWARDED_HOST,
    b"x-request-id": Rule.REQUEST_ID,
    b"x-request-start": Rule.REQUEST_START,
    b"forwarded": Rule.FORWARDED_OTHER,
    b"x-real-ip": Rule.FORWARDED_OTHER,
    b"client-ip": Rule.FORWARDED_OTHER,
}


def is_protected(lower: bytes) -> bool:
    """Return whether a ``Connection`` field cannot remove the field ``lower``, a name in lower case."""
    return lower in PROTECTED or lower.startswith(_FORWARDED_PREFIX)


def _classify(name: bytes) -> Rule | None:
    lower = name.lower()
    rule = _RULES.get(lower)
    if rule is None and lower.startswith(_FORWARDED_PREFIX):
        return Rule.FORWARDED_OTHER
    if rule is None and is_protected(lower.translate(_AS_CGI)):
        # CGI and WSGI read X_Forwarded_For and X-Forwarded-For as one variable, PHP also X.Forwarded.For, and some
        # servers every character that is not a letter or digit.
        return Rule.AMBIGUOUS
    return rule


class _RuleByName(dict[bytes, "Rule | None"]):
    """A cache of the rule for each spelling of a name, limited to ``_KNOWN_NAMES_MAX`` times ``NAME_BYTES``."""

    def __missing__(self, name: bytes) -> Rule | None:
        if len(name) > NAME_BYTES:
            raise ValueError("a field name is too long")
        if not _TOKEN.fullmatch(name):  # llhttp checks this too; both must agree on the names
            raise ValueError("a field name has a character that is not allowed")
        if len(self) >= _KNOWN_NAMES_MAX:
            self.clear()
        rule = self[name] = _classify(name)
        return rule


RULE_BY_NAME = _RuleByName()


class _End:
    """The callbacks of llhttp; ``found`` is whether it found the end of the head where we did."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found = False

    def on_headers_complete(self) -> None:
        self.found = True


_PREFIX = b"HTTP/1.1 204 \r\n"  # a response without a body, so that llhttp stops after the fields


def read_lines(block: bytes) -> list[Line]:
    """Validate field lines by RFC 9112 section 5, without its leniencies, and split them.

    llhttp validates them.  It does not report names and values, because each would cost a callback.  Every line that it
    accepts has a name before the first colon, and ends with CRLF.

    Args:
        block: the lines, with the empty line that ends them.

    Raises:
        ValueError: bare LF, folding, space before the colon, control bytes, bad or repeated ``Content-Length``, or
            ``Content-Length`` together with ``Transfer-Encoding``; the message is the reason.
    """
    end = _End()
    try:
        httptools.HttpResponseParser(end).feed_data(_PREFIX + block)
    except httptools.HttpParserError:
        raise ValueError(describe_field_error(block)) from None
    if not end.found:
        raise ValueError("it has no empty line at its end")
    return block[:-4].split(b"\r\n") if len(block) > 2 else []  # noqa: PLR2004 - the empty line


LENGTH_BYTES_MAX = 2**62
"""The longest body or chunk; slightly larger values overflow the counters of other programs and of splice(2)."""


def parse_length(value: bytes) -> int:
    """Return the value in bytes of a ``Content-Length`` that ``read_lines`` accepted.

    Raises:
        ValueError: it is larger than ``LENGTH_BYTES_MAX``.
    """
    length_bytes = int(value)
    if length_bytes > LENGTH_BYTES_MAX:
        raise ValueError("Content-Length is too large")
    return length_bytes


def remove_nominated(lines: list[Line], nominated: tuple[bytes, ...]) -> list[Line]:
    """Return ``lines`` without the fields that ``Connection`` names: RFC 9110 section 7.6.1.

    Args:
        lines: the field lines of one message.
        nominated: the options of its ``Connection`` fields, in lower case.

    Raises:
        ValueError: there are more options than ``OPTIONS_MAX``.
    """
    if len(nominated) > OPTIONS_MAX:
        raise ValueError("Connection or TE has too many options")
    if _OPTIONS.issuperset(nominated):
        return lines
    dropped = {name for name in nominated if not is_protected(name)}
    return [line for line in lines if line.partition(b":")[0].lower() not in dropped]


_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})
"""The usual options of ``Connection``; no field with one of these names is relayed anyway."""


class _TokensByValue(dict[bytes, tuple[bytes, ...]]):
    """A cache of the members of comma-separated lists of tokens, in lower case: RFC 9110 section 5.6.1.

    Its size is limited to ``_KNOWN_VALUES_MAX`` times ``_KNOWN_VALUE_BYTES``.  A list with more than ``OPTIONS_MAX``
    members raises ``ValueError``.
    """

    def __missing__(self, value: bytes) -> tuple[bytes, ...]:
        if value.count(b",") >= OPTIONS_MAX:
            raise ValueError("Connection or TE has too many options")
        members = (member.strip(b" \t") for member in value.lower().split(b","))
        tokens = tuple(member for member in members if _TOKEN.fullmatch(member))
        if len(value) <= _KNOWN_VALUE_BYTES:
            if len(self) >= _KNOWN_VALUES_MAX:
                self.clear()
            self[value] = tokens
        return tokens


TOKENS_BY_VALUE = _TokensByValue()
