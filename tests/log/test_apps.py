from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING

from rainbowd import log
from tests.log.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.log.conftest import Said


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\[\d\] .*)\n")


def test_an_apps_line_has_its_time_and_its_generation_and_no_escape_sequences(said: Said) -> None:
    log.app_line(3, "\x1b[1;31mred\x1b[0m\tand \x1b]0;title\x07")
    assert LINE.findall(said()) == ["[3] red\tand "]


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


def test_a_file_that_was_moved_away_or_removed_is_made_anew(tmp_path: Path, said: Said) -> None:
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


def test_a_file_that_cannot_be_written_is_said_once_and_its_losses_are_counted(tmp_path: Path, said: Said) -> None:
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


def test_a_file_that_blocks_stops_nothing(tmp_path: Path, said: Said) -> None:
    fifo = tmp_path / "app.log"
    os.mkfifo(fifo)
    sink = log.open_app_sink(fifo)
    line = "line" * 25
    for _ in range(20_000):
        sink(1, line)
    assert not log.flush(0)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    read = b""
    while not log.flush(0.01):
        with contextlib.suppress(BlockingIOError):
            read += os.read(reader, 1 << 20)
    os.close(reader)
    assert read.startswith(f"{line}\n{line}\n".encode())
