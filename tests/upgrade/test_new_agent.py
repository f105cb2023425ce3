from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rainbowd.sighup import Hangup
from rainbowd.upgrade.new_agent import UpgradeFailed, installed_command, start_new_agent


@pytest.mark.parametrize(
    ("first_line", "mode", "is_itself"),
    [("#!/usr/bin/python3", 0o755, True), ("#!/usr/bin/python3", 0o644, False), ("import rainbowd", 0o755, False)],
)
def test_a_script_is_run_as_itself_if_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_line: str, mode: int, is_itself: bool
) -> None:
    script = tmp_path / "rainbowd"
    script.write_text(f"{first_line}\n")
    script.chmod(mode)
    words = [str(script), "--config", "rainbowd.json"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, *words])
    assert installed_command(Path.cwd()) == (words if is_itself else [sys.executable, *words])


def test_a_module_is_run_by_the_same_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/rainbowd/__main__.py", "--config", "c"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "rainbowd", "--config", "c"])
    assert installed_command(Path.cwd()) == [sys.executable, "-m", "rainbowd", "--config", "c"]


async def test_the_first_process_of_a_container_is_not_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(UpgradeFailed, match="restart the container instead"):
        async with start_new_agent(Hangup(), Path.cwd()):
            pass


async def test_a_script_whose_interpreter_is_missing_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "rainbowd"
    script.write_text("#!/venv/that/is/gone/python\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, str(script)])
    with pytest.raises(UpgradeFailed, match=r"No such file or directory: its interpreter /venv/that/is/gone/python"):
        async with start_new_agent(Hangup(), Path.cwd()):
            pass


def test_a_script_is_found_where_the_agent_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rainbowd").write_text("#!/usr/bin/python3\n")
    (tmp_path / "bin" / "rainbowd").chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["bin/rainbowd"])
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "bin/rainbowd", "--enable-api"])
    monkeypatch.chdir("/")
    assert installed_command(tmp_path) == [str(tmp_path / "bin" / "rainbowd"), "--enable-api"]
