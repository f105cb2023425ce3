"""Field lines, and what the proxy does with each field name."""

from __future__ import annotations

import enum
import re

import httptools

from rainbowd.http1.field_errors import describe_field_error

Line = bytes
"""A field's line as it was sent, without its end."""

PROTECTED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"forwarded", b"x-real-ip", b"client-ip", b"x-request-id"}
    | {b"x-request-start"}
)
"""Names that a ``Connection`` field cannot have removed: the app trusts what rainbowd says in them."""

NAME_BYTES = 256
"""The longest field name."""
OPTIONS_MAX = 32
"""The most options that the ``Connection`` fields of one message may have."""

_FORWARDED_PREFIX = b"x-forwarded-"
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_KNOWN_NAMES_MAX = 4096
_KNOWN_VALUES_MAX = 256
_KNOWN_VALUE_BYTES = 256
"""Longer values are not remembered, so that strangers cannot fill the memory."""

_AS_CGI = bytes(code if chr(code).isalnum() and code < 0x80 else 0x2D for code in range(256))  # noqa: PLR2004 - ASCII


def has_bare_lf(data: bytes | bytearray, at: int) -> bool:
    """Whether a line that ends in ``data`` behind ``at`` does so without a carriage return; a regex is far slower."""
    return data.count(b"\n", at) != data.count(b"\r\n", at - 1 if at else 0)


class Rule(enum.IntEnum):
    """What to do with a field other than to pass it on."""

    __hash__ = int.__hash__  # an enum's own is a call in Python, for every field that has a rule

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
    """Whether ``Connection`` may not nominate the name ``lower``."""
    return lower in PROTECTED or lower.startswith(_FORWARDED_PREFIX)


def _classify(name: bytes) -> Rule | None:
    lower = name.lower()
    rule = _RULES.get(lower)
    if rule is None and lower.startswith(_FORWARDED_PREFIX):
        return Rule.FORWARDED_OTHER
    if rule is None and is_protected(lower.translate(_AS_CGI)):
        # CGI and WSGI read X_Forwarded_For and X-Forwarded-For as one variable, PHP also X.Forwarded.For, and some
        # servers every character that is no letter or digit.
        return Rule.AMBIGUOUS
    return rule


class _RuleByName(dict[bytes, "Rule | None"]):
    """The rule of each spelling of a name met so far, within ``_KNOWN_NAMES_MAX`` times ``NAME_BYTES``."""

    def __missing__(self, name: bytes) -> Rule | None:
        if len(name) > NAME_BYTES:
            raise ValueError("a field name is too long")
        if not _TOKEN.fullmatch(name):  # llhttp has seen to that: the one thing that both have to agree on
            raise ValueError("a field name has a character that is not allowed")
        if len(self) >= _KNOWN_NAMES_MAX:
            self.clear()
        rule = self[name] = _classify(name)
        return rule


RULE_BY_NAME = _RuleByName()


class _End:
    """What llhttp calls back; ``found`` tells that it saw the end of the head where we did."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found = False

    def on_headers_complete(self) -> None:
        self.found = True


_PREFIX = b"HTTP/1.1 204 \r\n"  # a head that has no body, so that llhttp ends with the fields


def read_lines(block: bytes) -> list[Line]:
    """Judge field lines by RFC 9112 section 5, without its leniencies, and part them.

    llhttp judges; it is not asked for names and values, each of which would be a call.  What it lets through has a name
    up to the first colon of each line, and no line end but CRLF.

    Args:
        block: the lines with the empty line that ends them.

    Raises:
        ValueError: bare LF, folding, space before the colon, control bytes, bad or repeated ``Content-Length``,
            ``Content-Length`` beside ``Transfer-Encoding``; the message says which.
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
"""The longest body or chunk; what is not much longer overflows the counters of others, and of splice(2)."""


def parse_length(value: bytes) -> int:
    """Return the value of a ``Content-Length`` that ``read_lines`` let through, in bytes.

    Raises:
        ValueError: nobody can mean that many bytes.
    """
    length_bytes = int(value)
    if length_bytes > LENGTH_BYTES_MAX:
        raise ValueError("Content-Length is too large")
    return length_bytes


def remove_nominated(lines: list[Line], nominated: tuple[bytes, ...]) -> list[Line]:
    """Return ``lines`` without those that ``Connection`` nominates: RFC 9110 section 7.6.1.

    Raises:
        ValueError: it has more options than ``OPTIONS_MAX``.
    """
    if len(nominated) > OPTIONS_MAX:
        raise ValueError("Connection or TE has too many options")
    if _OPTIONS.issuperset(nominated):
        return lines
    dropped = {name for name in nominated if not is_protected(name)}
    return [line for line in lines if line.partition(b":")[0].lower() not in dropped]


_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})
"""What ``Connection`` says mostly; no field of these names passes anyway."""


class _TokensByValue(dict[bytes, tuple[bytes, ...]]):
    """The members of each comma-separated list of tokens met so far, in lower case: RFC 9110 section 5.6.1.

    What it remembers is bounded by ``_KNOWN_VALUES_MAX`` times ``_KNOWN_VALUE_BYTES``.  A list may have ``OPTIONS_MAX``
    members; ValueError otherwise.
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
