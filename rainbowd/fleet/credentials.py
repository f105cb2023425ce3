"""A member's credentials for etcd, and the check of etcd's certificates.  Each file is checked before it is read."""

from __future__ import annotations

import os
import ssl
import stat
from typing import TYPE_CHECKING

from rainbowd.config import check_only_root_writes
from rainbowd.errors import ConfigError
from rainbowd.fleet.engine import EngineRefused
from rainbowd.json_file import open_regular, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config import FleetSettings

ROOT = 0


def password(settings: FleetSettings) -> tuple[str, str] | None:
    """Return the user of etcd and the password; None if the fleet has no users.

    Raises:
        EngineRefused: the file cannot be read, or other accounts can read it; no message contains the password.
    """
    path = settings.password_file
    if settings.user is None or path is None:
        return None
    _check("password_file", path, is_secret=True)
    try:
        found = read_text(path, expected="the password of etcd's user").strip()
    except ConfigError as error:
        raise EngineRefused(f"fleet.password_file: {error}") from None
    if not found:
        raise EngineRefused(f"fleet.password_file: {path}: found nothing; expected the password of {settings.user}")
    return settings.user, found


def tls(settings: FleetSettings) -> ssl.SSLContext | bool:
    """Return how the certificates of etcd are verified: always, if an endpoint has TLS.

    Raises:
        EngineRefused: a file cannot be used, or other accounts can change it, or can read a private key.
    """
    if all(endpoint.startswith("http:") for endpoint in settings.endpoints):
        return False  # there is no certificate
    if settings.ca_file is not None:
        _check("ca_file", settings.ca_file)
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        raise EngineRefused(f"fleet.ca_file: {settings.ca_file}: cannot be used: {error}") from None
    if settings.cert_file is not None:
        _load_certificate(context, settings.cert_file, settings.key_file)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    _check("cert_file", certificate, is_secret=key is None)
    if key is not None:
        _check("key_file", key, is_secret=True)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # without it, OpenSSL asks on the terminal
    except (OSError, ValueError) as error:
        raise EngineRefused(
            f"fleet.cert_file: {certificate}: cannot be used: {error}; "
            "expected a certificate and its key in PEM format, without a passphrase"
        ) from None


def _check(key: str, path: Path, *, is_secret: bool = False) -> None:
    """Check that no other account can change a file, nor read it if it is secret; a group can be allowed to read it.

    Raises:
        EngineRefused: another account can, or it is not a readable file.
    """
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
        if os.geteuid() == ROOT:
            check_only_root_writes(path)
    except ConfigError as error:
        raise EngineRefused("\n".join(f"fleet.{key}: {problem}" for problem in error.problems)) from None
    except OSError as error:
        raise EngineRefused(f"fleet.{key}: {path}: cannot be read ({error.strerror})") from None
    if is_secret and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise EngineRefused(
            f"fleet.{key}: {path}: found mode {stat.S_IMODE(mode):04o}, which lets others in; "
            "expected 0600 or 0640: chmod 600 it"
        )
