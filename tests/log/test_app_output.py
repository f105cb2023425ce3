from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import pytest

from rainbowd import log
from rainbowd.log.app_output import open_log
from tests.accounts import needs_root, uid
from tests.log.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.log.conftest import Said


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\[\d[^]]*\] .*)\n")


def test_an_apps_line_has_its_time_and_its_generation_and_no_escape_sequences(said: Said) -> None:
    log.app_line(3, "\x1b[1;31mred\x1b[0m\tand \x1b]0;title\x07")
    assert LINE.findall(said()) == ["[3] red\tand "]


def test_a_companions_line_names_the_process(said: Said) -> None:
    log.app_line(3, "job 1", "worker.2")
    assert LINE.findall(said()) == ["[3 worker.2] job 1"]


def test_no_sink_drops_and_stdout_names_the_generation(said: Said) -> None:
    log.open_app_sink(None)(3, "dropped")
    log.open_app_sink("stdout")(3, "line")
    assert LINE.findall(said()) == ["[3] line"]


def test_a_file_gets_the_apps_lines_as_they_are(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "app.log"
    file.write_text("before\n")
    sink = log.open_app_sink(file)
    sink(3, "\x1b[31mred\x1b[0m")
    sink(4, "caf\u00e9 \udc80")
    assert said() == ""
    assert file.read_text() == "before\n\x1b[31mred\x1b[0m\ncaf\u00e9 \\udc80\n"


def test_a_moved_or_removed_file_is_created_again(tmp_path: Path, said: Said) -> None:
    file, moved = tmp_path / "app.log", tmp_path / "app.log.1"
    sink = log.open_app_sink(file)
    sink(1, "one")
    said()
    file.rename(moved)
    sink(1, "two")
    said()
    assert (moved.read_text(), file.read_text()) == ("one\n", "two\n")
    file.unlink()
    sink(1, "three")
    said()
    assert file.read_text() == "three\n"


def test_a_file_that_cannot_be_written_is_logged_once_and_its_losses_are_counted(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "missing" / "app.log"
    sink = log.open_app_sink(file)
    for line in ("one", "two"):
        sink(1, line)
        log.flush(PATIENCE_SECONDS)
    warnings = said()
    assert warnings.count("cannot be written") == 1
    assert os.strerror(errno.ENOENT) in warnings
    file.parent.mkdir()
    sink(1, "three")
    log.flush(PATIENCE_SECONDS)
    assert "can be written again" in said()
    assert file.read_text() == "rainbowd: 2 lines were lost here\nthree\n"


def test_nothing_but_a_regular_file_is_written_to(tmp_path: Path, said: Said) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for place in ("pipe", "directory"):
        sink = log.open_app_sink(tmp_path / place)
        sink(1, "line")
        assert log.flush(PATIENCE_SECONDS)
    assert "log.app: cannot be written, its lines are lost" in said()


@needs_root
def test_a_link_of_another_user_is_not_followed_by_an_agent_that_is_not_root(open_path: Path) -> None:
    os.chown(open_path, 1, 1)
    for file, link, owner in (("precious", "app.log", 1), ("ours", "own.log", uid())):
        (open_path / file).touch()
        os.chown(open_path / file, uid(), -1)
        (open_path / link).symlink_to(file)
        os.lchown(open_path / link, owner, -1)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(uid())
            os.close(open_log(open_path / "own.log"))
            open_log(open_path / "app.log")
        except PermissionError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@needs_root
def test_root_appends_to_nothing_that_others_can_exchange(open_path: Path) -> None:
    directory, secret = open_path / "log", open_path / "secret"
    file = directory / "app.log"
    directory.mkdir()
    secret.touch()
    os.close(open_log(file))
    os.chown(directory, uid(), -1)
    with pytest.raises(PermissionError, match="only root may write"):
        open_log(file)
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(PermissionError, match="only root may write"):
        open_log(file)
    os.chown(directory, 0, -1)
    file.unlink()
    file.touch()
    os.chown(file, uid(), -1)
    with pytest.raises(PermissionError, match="only root may write"):
        open_log(file)


@needs_root
def test_root_appends_to_no_file_that_somebody_linked_to_the_log(tmp_path: Path) -> None:
    secret, log = tmp_path / "secret", tmp_path / "sticky" / "app.log"
    secret.write_text("of root's\n")
    log.parent.mkdir()
    log.parent.chmod(0o1777)
    log.hardlink_to(secret)
    with pytest.raises(PermissionError, match="a file with more than one name"):
        open_log(log)
    log.unlink()
    os.close(open_log(log))
