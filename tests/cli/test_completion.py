from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rainbowd
from rainbowd.cli import main
from tests.live.agent import needs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site to deploy in, which is the working directory, and a ``rainbowd`` that shells find."""
    for name in ("v1", "v2", "a b", ".hidden", "other"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "releases" / "v3.tar").touch()
    (tmp_path / "current").symlink_to("releases/v1")
    (tmp_path / "rainbowd.json").write_text('{"release": "current"}')
    program = tmp_path / "bin" / "rainbowd"
    program.parent.mkdir()
    root = Path(rainbowd.__file__).parents[1]
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m rainbowd "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["de"], ["deploy"]),
        (["--config", "rainbowd.json", "roll"], ["rollback"]),
        (["deploy", ""], ["a b", "other", "v1", "v2"]),
        (["deploy", "v"], ["v1", "v2"]),
        (["deploy", "--note", "v1", "v"], ["v1", "v2"]),
        (["deploy", "--config=rainbowd.json", "v"], ["v1", "v2"]),
        (["deploy", "v1", "v"], []),
        (["deploy", "--note", ""], []),
        (["deploy", "--config", "none.json", ""], []),
        (["deploy", "--config", ""], []),
        (["rollback", "--no"], ["--note", "--no-wait"]),
        (["--log-level", ""], ["debug", "info", "warning", "error"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["init", "--server", "gunicorn-g"], ["gunicorn-gthread", "gunicorn-gevent"]),
        (["wait", "--live", "v"], ["v1", "v2"]),
        (["help", "dep"], ["deploy"]),
        (["none", ""], []),
        (["--none", ""], None),
    ],
)
def test_the_words_that_can_come_next_are_offered(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str] | None
) -> None:
    status = main(["completion", "words", *words])
    found = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    if expected is not None:
        assert found == expected
    assert status == (0 if found else 1)


@pytest.mark.usefixtures("site")
def test_every_command_is_offered_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "words", ""])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {"check", "status", "history", "deploy", "rollback", "proxy", "completion"} <= {word for word, _ in lines}
    assert all(words for _, words in lines)


def test_bash_completes(site: Path) -> None:
    script = """
        eval "$(rainbowd completion bash)"
        COMP_WORDS=(rainbowd deploy "$1") COMP_CWORD=2
        _rainbowd
        printf '%s\\n' "${COMPREPLY[@]}"
        complete -p rainbowd
    """
    found = subprocess.check_output([needs("bash"), "-c", script, "bash", ""], text=True).splitlines()
    assert found == [r"a\ b", "other", "v1", "v2", "complete -o default -F _rainbowd rainbowd"]


def test_fish_completes(site: Path) -> None:
    script = "rainbowd completion fish | source; complete -C 'rainbowd deploy v'; complete -C 'rainbowd deploy rel'"
    found = subprocess.check_output([needs("fish"), "--no-config", "-c", script], text=True).splitlines()
    assert found == ["v1\tthe linked release", "v2\ta release", "releases/"]


class Zsh:
    """An interactive one, on a terminal of its own."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "dumb", "PS1": "> "}
        command = [needs("zsh"), "-f", "-i"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._unread = ""

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, shown: str) -> str:
        while shown not in self._unread:
            self._unread += os.read(self._ours, 65536).decode()
        before, _, self._unread = self._unread.partition(shown)
        return before

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def zsh() -> Iterator[Zsh]:
    zsh = Zsh()
    yield zsh
    zsh.close()


def test_zsh_completes(site: Path, zsh: Zsh) -> None:
    zsh.type("autoload -Uz compinit; compinit -D; eval \"$(rainbowd completion zsh)\"; print READ''Y\n")
    zsh.until("READY")
    zsh.type("rainbowd deploy o\t")
    zsh.until("deploy other")
    zsh.type("\x15rainbowd deploy v\t\t")
    assert "v1" in zsh.until("the linked release")
