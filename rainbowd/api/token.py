"""The bearer token: created or read at the start, compared in constant time, never logged."""

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
"""What can follow ``Bearer``: RFC 6750, section 2.1."""


class Token:
    """A secret that clients must send.

    Args:
        text: the secret.
        own_file: the file in the state directory that contains it; None if the file belongs to somebody else. Then only
            the digest is kept in memory.
    """

    def __init__(self, text: bytes, own_file: Path | None = None) -> None:
        self._digest = hashlib.sha256(text).digest()
        self._stored = None if own_file is None else (own_file, text)

    def store_again(self) -> None:
        """Write a file of our own once more if it is gone, so that clients find the token that counts.

        Raises:
            OSError: it cannot be written.
        """
        if self._stored is not None and not os.path.lexists(self._stored[0]):
            path, text = self._stored
            replace_file(path, text + b"\n", mode=SECRET_MODE)

    def admits(self, fields: Sequence[bytes]) -> bool:
        """Return whether a request has the token.

        Digests are compared, so the time it takes reveals neither the length nor a part of the token.

        Args:
            fields: the values of all ``Authorization`` fields of the request.
        """
        if len(fields) != 1:
            return False
        scheme, _, given = fields[0].partition(b" ")
        is_equal = hmac.compare_digest(hashlib.sha256(given.strip(b" ")).digest(), self._digest)
        return is_equal and scheme.lower() == b"bearer"


def find_token(state_dir: Path, token_file: Path | None) -> Token:
    """Return the token from ``token_file``, else from the state directory, where it is created if it does not exist.

    Args:
        state_dir: the state directory.
        token_file: as the config names it.

    Raises:
        UsageError: the file is not valid, or others can read it.
    """
    path = token_file if token_file is not None else state_dir / NAME
    key = f"api.token_file: {path}" if token_file is not None else str(path)
    if token_file is None and not os.path.lexists(path):
        _make(path)
    text = _read(path, key, is_ours=token_file is None)
    if not LENGTH_MIN <= len(text) <= LENGTH_MAX or not _TOKEN.fullmatch(text):
        expected = f"at least {LENGTH_MIN} letters and digits in one line, such as `openssl rand -hex 32` makes them"
        raise UsageError(f"{key}: found something that is not a token; expected {expected}")
    return Token(text, path if token_file is None else None)


def _make(path: Path) -> None:
    try:
        replace_file(path, secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n", mode=SECRET_MODE)
    except OSError as error:
        raise UsageError(f"{path}: cannot write the token: {error.strerror}") from None


def _read(path: Path, key: str, *, is_ours: bool) -> bytes:
    """Read a token file and check its permissions; a file of our own must not be a symlink."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (os.O_NOFOLLOW if is_ours else 0)
    try:
        opened = os.open(path, flags)
    except OSError as error:
        raise UsageError(f"{key}: cannot read the token: {error.strerror}") from None
    try:
        _check_status(os.fstat(opened), key)
        if not is_ours:
            _check_writers(path)
        return os.read(opened, LENGTH_MAX + 2).strip()
    finally:
        os.close(opened)


def _check_status(status: os.stat_result, key: str) -> None:
    """Check that no one else can read or replace the file, except a group of deployers that can read it."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{key}: found something that is not a file; expected a file with the token")
    if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        mode = stat.S_IMODE(status.st_mode)
        raise UsageError(f"{key}: found mode {mode:04o}, which lets others in; expected 0600 or 0640: chmod 600 it")
    if status.st_uid not in {0, os.geteuid()}:
        raise UsageError(f"{key}: found user {status.st_uid}'s file; expected one of the agent's user, or of root")


def _check_writers(path: Path) -> None:
    if os.geteuid() != 0:
        return
    try:
        check_only_root_writes(path)
    except ConfigError as error:
        raise UsageError("\n".join(f"api.token_file: {problem}" for problem in error.problems)) from None
