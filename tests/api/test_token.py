from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from rainbowd.api.token import NAME, Token, find_token
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def admits(token: Token, text: str) -> bool:
    return token.admits([f"Bearer {text}".encode()])


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = find_token(tmp_path, None)
    finally:
        os.umask(before)
    text = (tmp_path / NAME).read_text().strip()
    assert len(text) >= 32
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert admits(token, text)
    assert admits(find_token(tmp_path, None), text)
    other = tmp_path / "other"
    other.mkdir()
    assert not admits(find_token(other, None), text)


def test_a_token_of_the_owners_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "chosen"
    file.write_text("  a-token-of-my-own==\n")
    file.chmod(0o640)
    assert admits(find_token(tmp_path, file), "a-token-of-my-own==")
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o602, 0o666])
def test_a_token_that_others_may_read_or_choose_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "chosen"
    file.write_text("a-token-of-my-own")
    file.chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}, which lets others in"):
        find_token(tmp_path, file)
    file.rename(tmp_path / NAME)
    with pytest.raises(UsageError, match="lets others in"):
        find_token(tmp_path, None)


@pytest.mark.parametrize("text", ["", "short", "two words are no token", "twenty-lines\n" * 2, "x" * 5000, "nul\0" * 9])
def test_an_invalid_token_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "chosen"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="not a token; expected at least 16") as caught:
        find_token(tmp_path, file)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_our_own_token_is_never_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("a-token-of-somebody")
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / NAME).symlink_to("elsewhere")
    with pytest.raises(UsageError, match="cannot read the token"):
        find_token(tmp_path, None)


@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_a_special_file_is_refused_without_waiting(tmp_path: Path, make: str) -> None:
    getattr(os, make)(tmp_path / "chosen", 0o600)
    with pytest.raises(UsageError, match="not a file"):
        find_token(tmp_path, tmp_path / "chosen")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"api\.token_file: .*/gone: cannot read the token: No such file"):
        find_token(tmp_path, tmp_path / "gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
def test_root_takes_no_token_that_somebody_else_may_replace(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    file = tmp_path / "theirs" / "token"
    file.write_text("a-token-of-my-own")
    file.chmod(0o600)
    with pytest.raises(UsageError, match="may be written by nobody"):
        find_token(tmp_path, file)
    os.chown(file, 65534, 65534)
    with pytest.raises(UsageError, match="user 65534's file"):
        find_token(tmp_path, file)


def test_only_one_field_with_the_whole_token_is_admitted() -> None:
    token = Token(b"correct-horse-battery")
    good = b"Bearer correct-horse-battery"
    assert token.admits([good])
    assert not token.admits([])
    assert not token.admits([good, good])
    assert not token.admits([good + b"\xff"])
    assert "correct" not in repr(vars(token))


def test_a_removed_token_file_of_our_own_is_written_again_and_any_other_stays_as_it_is(tmp_path: Path) -> None:
    token, file = find_token(tmp_path, None), tmp_path / NAME
    text = file.read_bytes()
    file.unlink()
    token.store_again()
    assert file.read_bytes() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("a-token-for-the-next-start\n")
    token.store_again()
    assert file.read_text() == "a-token-for-the-next-start\n"
    chosen = tmp_path / "chosen"
    chosen.write_text("a-token-of-my-own==\n")
    chosen.chmod(0o600)
    other = find_token(tmp_path, chosen)
    chosen.unlink()
    other.store_again()
    assert not chosen.exists()
