"""The bearer token: made or read at the start, compared in constant time, never told."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from rainbowd.config import check_only_root_writes
from rainbowd.errors import ConfigError, UsageError
from rainbowd.report.state_dir import SECRET_MODE, replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "token"
TOKEN_BYTES = 32
LENGTH_MIN, LENGTH_MAX = 16, 4096
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, section 2.1: what can stand behind Bearer."""


class Token:
    """A secret that callers have to know; its own text is not kept."""

    def __init__(self, text: bytes) -> None:
        self._digest = hashlib.sha256(text).digest()

    def admits(self, fields: Sequence[bytes]) -> bool:
        """Whether a request is let in.

        What is compared are digests: neither the length nor a part of the token shows in the time it takes.

        Args:
            fields: the values of all ``Authorization`` fields that it has.
        """
        if len(fields) != 1:
            return False
        scheme, _, given = fields[0].partition(b" ")
        is_equal = hmac.compare_digest(hashlib.sha256(given.strip(b" ")).digest(), self._digest)
        return is_equal and scheme.lower() == b"bearer"


def find_token(state_dir: Path, token_file: Path | None) -> Token:
    """The token: what ``token_file`` says, else what is in the state directory, made there on first need.

    Raises:
        UsageError: there is none that can be used, or others could read it.
    """
    path = token_file if token_file is not None else state_dir / NAME
    key = f"api.token_file: {path}" if token_file is not None else str(path)
    if token_file is None and not os.path.lexists(path):
        _make(path)
    text = _read(path, key, is_ours=token_file is None)
    if not LENGTH_MIN <= len(text) <= LENGTH_MAX or not _TOKEN.fullmatch(text):
        expected = f"at least {LENGTH_MIN} letters and digits in one line, such as `openssl rand -hex 32` makes them"
        raise UsageError(f"{key}: found something that is no token; expected {expected}")
    return Token(text)


def _make(path: Path) -> None:
    try:
        replace_file(path, secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n", mode=SECRET_MODE)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def _read(path: Path, key: str, *, is_ours: bool) -> bytes:
    """The text of a token file whose permissions are good; one of our own is never a link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (os.O_NOFOLLOW if is_ours else 0)
    try:
        opened = os.open(path, flags)
    except OSError as error:
        raise UsageError(f"{key}: cannot be read: {error.strerror}") from None
    try:
        _judge(os.fstat(opened), key)
        if not is_ours:
            _refuse_foreign(path)
        return os.read(opened, LENGTH_MAX + 2).strip()
    finally:
        os.close(opened)


def _judge(status: os.stat_result, key: str) -> None:
    """Refuse a file that others may know or choose: a group may be let in to read, as deployers are."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{key}: found something that is no file; expected a file with the token")
    if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        mode = stat.S_IMODE(status.st_mode)
        raise UsageError(f"{key}: found mode {mode:04o}, which lets others in; expected 0600 or 0640: chmod 600 it")
    if status.st_uid not in {0, os.geteuid()}:
        raise UsageError(f"{key}: found user {status.st_uid}'s file; expected one of the agent's user, or of root")


def _refuse_foreign(path: Path) -> None:
    if os.geteuid() != 0:
        return
    try:
        check_only_root_writes(path)
    except ConfigError as error:
        raise UsageError("\n".join(f"api.token_file: {problem}" for problem in error.problems)) from None
