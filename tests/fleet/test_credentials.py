"""The files of a fleet's password and certificates: judged like other secrets, and never shown."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.config import FleetSettings, load_fleet, path_problems
from rainbowd.config.loader import validate
from rainbowd.errors import ConfigError
from rainbowd.fleet.credentials import password, tls
from rainbowd.fleet.engine import EngineRefused
from tests.accounts import needs_root
from tests.fleet.test_security import certificate

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret-of-etcd"


def settings(**changes: Any) -> FleetSettings:
    return FleetSettings.model_validate({"name": "shop", "endpoints": ("https://127.0.0.1:2379",), **changes})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def test_a_password_is_read_without_its_line_end(secret: Path) -> None:
    assert password(settings(user="agent", password_file=secret)) == ("agent", SECRET)
    secret.chmod(0o640)
    assert password(settings(user="agent", password_file=secret)) == ("agent", SECRET)
    assert password(settings()) is None


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602, 0o666])
def test_a_password_that_others_can_read_is_not_used(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(EngineRefused, match=r"^fleet.password_file: .*/password: found ") as refusal:
        password(settings(user="agent", password_file=secret))
    assert SECRET not in str(refusal.value)


def test_something_else_than_a_password_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + SECRET.encode())
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    for name in ("fifo", "empty", "binary", "gone", "."):
        with pytest.raises(EngineRefused, match=r"^fleet.password_file: ") as refusal:
            password(settings(user="agent", password_file=tmp_path / name))
        assert SECRET not in str(refusal.value)


def test_certificates_are_always_verified(tmp_path: Path) -> None:
    """The system's authorities, or those of ``ca_file``; there is no setting that turns it off."""
    made, _ = certificate(tmp_path, "ca")
    for changes in ({}, {"ca_file": made}, {"insecure": True}, {"endpoints": ("https://h:1", "http://127.0.0.1:1")}):
        context = tls(settings(**changes))
        assert isinstance(context, ssl.SSLContext)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, secret: Path) -> None:
    for key in ("ca_file", "cert_file"):
        for path in (secret, tmp_path / "gone"):
            with pytest.raises(EngineRefused, match=f"fleet.{key}: {path}") as refusal:
                tls(settings(**{key: path}))
            assert SECRET not in str(refusal.value)


def test_a_private_key_is_judged_like_a_password(tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "client")
    key.chmod(0o600)
    assert isinstance(tls(settings(cert_file=made, key_file=key)), ssl.SSLContext)
    key.chmod(0o644)
    with pytest.raises(EngineRefused, match=r"fleet.key_file: .*found mode 0644"):
        tls(settings(cert_file=made, key_file=key))
    both = tmp_path / "both.pem"
    both.write_text(made.read_text() + key.read_text())
    both.chmod(0o644)
    with pytest.raises(EngineRefused, match=r"fleet.cert_file: .*found mode 0644"):
        tls(settings(cert_file=both))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "client")
    closed = tmp_path / "closed.key"
    words = ["openssl", "rsa", "-aes128", "-passout", f"pass:{SECRET}", "-in", str(key), "-out", str(closed)]
    subprocess.run(words, check=True, capture_output=True)
    closed.chmod(0o600)
    with pytest.raises(EngineRefused, match=r"fleet.cert_file: .*without a passphrase"):
        tls(settings(cert_file=made, key_file=closed))


@needs_root
def test_root_trusts_no_file_that_another_account_can_replace(tmp_path: Path, secret: Path) -> None:
    made, _ = certificate(tmp_path, "ca")
    for path, act, key in (
        (secret, lambda: password(settings(user="agent", password_file=secret)), "password_file"),
        (made, lambda: tls(settings(ca_file=made)), "ca_file"),
    ):
        os.chown(path, 1, -1)
        with pytest.raises(EngineRefused, match=f"fleet.{key}: {path}: .*(owner|write)"):
            act()


def problems(directory: Path, password_file: Path) -> list[str]:
    """The reasons for which an agent does not start, about its fleet."""
    fleet = {"name": "shop", "endpoints": ["https://h:1"], "user": "agent", "password_file": str(password_file)}
    source = {"run": ["app"], "health": "/up", "release": "current", "state_dir": "state", "fleet": fleet}
    file = directory / "rainbowd.json"
    return [line for line in path_problems(file, validate(source, file).config) if line.startswith("fleet.")]


def test_a_password_in_a_release_keeps_the_agent_from_starting(tmp_path: Path, secret: Path) -> None:
    release = tmp_path / "releases" / "v1"
    release.mkdir(parents=True)
    (tmp_path / "current").symlink_to(release)
    assert problems(tmp_path, secret) == []
    inside = secret.rename(release / "password")
    assert [line.partition(": found ")[0] for line in problems(tmp_path, inside)] == ["fleet.password_file"]
    (tmp_path / "current").unlink()
    release.rename(tmp_path / "current")
    [line] = problems(tmp_path, tmp_path / "current" / "password")
    assert "which the app could publish" in line


@needs_root
def test_root_does_not_start_with_a_password_of_another_account(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "current").symlink_to(tmp_path / "v1")
    os.chown(secret, 1, -1)
    [line] = problems(tmp_path, secret)
    assert line.startswith(f"fleet.password_file: {secret}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": "agent"}, "fleet.password_file: found null; expected the file with the password of agent"),
        ({"password_file": "/p"}, 'fleet.password_file: found "/p"; expected null, because there is no user'),
        ({"key_file": "/k"}, 'fleet.key_file: found "/k"; expected null, or a cert_file that it belongs to'),
        ({"endpoints": ["http://127.0.0.1:1"], "ca_file": "/c"}, 'fleet.ca_file: found "/c"; expected null, or endp'),
        ({"endpoints": ["http://127.0.0.1:1"], "cert_file": "/c"}, 'fleet.cert_file: found "/c"; expected null, or'),
        ({"endpoints": ["http://10.0.0.1:1"]}, "fleet.insecure: found false; expected https in http://10.0.0.1:1"),
        ({"endpoints": ["http://127.0.0.1.nip.io:1"]}, "fleet.insecure: found false; expected https"),
        ({"endpoints": ["http://127.0.0.1@evil:1"]}, "fleet.endpoints"),
        ({"endpoints": ["https://ann:pw@10.0.0.1:1"]}, "fleet.endpoints"),
        ({"endpoints": ["file:///etc/passwd"]}, "fleet.endpoints"),
        ({"name": "../shop"}, "fleet.name"),
        ({"prefix": "/../"}, None),
        ({"prefix": "rainbowd/"}, "fleet.prefix"),
    ],
)
def test_a_setting_that_would_be_ignored_silently_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str | None
) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"name": "shop", "endpoints": ["https://10.0.0.1:2379"], **changes}))
    if message is None:
        load_fleet(file)
        return
    with pytest.raises(ConfigError) as refusal:
        load_fleet(file)
    assert message in str(refusal.value)
