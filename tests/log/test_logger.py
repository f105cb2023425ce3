"""The agent's own lines, and a stdout that is not as it should be."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rainbowd
from rainbowd import log
from tests.log.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.log.conftest import Said

ROOT = Path(rainbowd.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

TALK = """
import sys
seconds = float(sys.argv[1])
for number in range(60_000):
    log.get_logger().info("line", number=number, padding="x" * 100)
print("said", log.flush(seconds), file=sys.stderr, flush=True)
sys.stdin.readline()
log.flush(30)
"""


def python(code: str, *words: str, **options: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", f"from rainbowd import log\n{code}", *words]
    return subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def ends_well(process: subprocess.Popen[str]) -> str:
    """What it said on stderr."""
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    return errors


def test_a_logger_follows_a_later_configuration(said: Said) -> None:
    logger = log.get_logger()
    log.configure("warning", "auto")
    logger.info("unsaid")
    assert said() == ""
    log.configure("debug", "auto")
    logger.debug("said")
    assert "debug said" in said()


def test_a_traceback_names_each_line_and_the_cause(said: Said) -> None:
    def fail() -> None:
        try:
            int("x")
        except ValueError as bug:
            raise ExceptionGroup("two", [bug, OSError("disk")]) from bug

    with pytest.raises(ExceptionGroup) as raised:
        fail()
    log.get_logger().error("bug", exc_info=raised.value, generation=3)
    first, *below = said().splitlines()
    assert first.endswith("error bug generation=3")
    assert below[0] == "    Traceback (most recent call last):"
    assert "    ValueError: invalid literal for int() with base 10: 'x'" in below
    assert "      | ExceptionGroup: two (2 sub-exceptions)" in below
    assert any("OSError: disk" in line for line in below)
    log.configure("info", "json")
    log.get_logger().error("bug", exc_info=raised.value)
    assert json.loads(said())["exception"].endswith("+------------------------------------")


def test_the_lines_of_the_app_and_of_requests_keep_their_order_among_the_agents_own() -> None:
    code = """
log.get_logger().info("first")
log.app_line(1, "second")
log.request({"third": 3})
log.get_logger().info("fourth")
assert log.flush(30)
"""
    process = python(code, stdout=subprocess.PIPE)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    assert re.findall(r"first|second|third|fourth", output) == ["first", "second", "third", "fourth"]


def test_a_line_of_the_app_needs_no_earlier_line_of_the_agent() -> None:
    process = python("log.app_line(1, 'line'); log.writer.flush(30)", stdout=subprocess.PIPE)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    assert output.endswith(" [1] line\n")


def test_on_a_terminal_there_are_colours_but_those_of_the_app() -> None:
    ours, theirs = pty.openpty()
    process = python(
        "log.get_logger().info('event', key='value'); log.app_line(3, '\x1b[5mblink\x1b[0m'); log.flush(30)",
        stdout=theirs,
    )
    os.close(theirs)
    ends_well(process)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\x1b[32minfo \x1b[0m event" in shown
    assert re.search(r"\x1b\[3\dm\[3\]\x1b\[0m blink\r\n", shown)


def test_a_pipe_that_nobody_reads_blocks_nothing_and_lost_lines_are_counted() -> None:
    process = python(TALK, "0.01", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline() == "said False\n"
    output, _ = process.communicate("\n", timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    lines = output.splitlines()
    numbers = [int(found) for found in re.findall(r"number=(\d+)", output)]
    lost = [int(found) for found in re.findall(r"lines of this log were lost lines=(\d+)", output)]
    assert numbers == list(range(len(numbers))), "the oldest are kept, in order and whole"
    assert "were lost" in lines[-1]
    assert len(numbers) + sum(lost) == 60_000


def test_a_pipe_without_a_reader_stops_nothing() -> None:
    process = python(TALK, "30", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert ends_well(process) == "said True\n"


def test_a_full_disk_stops_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        process = python(TALK, "30", stdin=subprocess.DEVNULL, stdout=full)
        assert ends_well(process) == "said True\n"


def test_a_stdout_that_was_closed_at_the_start_is_not_mistaken_for_another_file(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other"
    code = f"""
from rainbowd import log
import os
assert os.open({str(other)!r}, os.O_CREAT | os.O_WRONLY) == 1
log.configure("info", "auto")
log.get_logger().info("event")
log.app_line(1, "line")
assert log.flush(30)
"""
    command = 'exec "$0" -c "$1" >&-'
    subprocess.run(["sh", "-c", command, sys.executable, code], env=ENVIRONMENT, check=True)
    assert other.read_bytes() == b""


def test_a_stdout_that_others_made_non_blocking_gets_every_line() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    process = python("for _ in range(3000): log.get_logger().info('x' * 100)\nlog.flush(30)", stdout=write_end)
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        assert len(reader.readlines()) == 3000
    ends_well(process)


def test_saying_something_while_the_interpreter_shuts_down_is_harmless() -> None:
    code = """
import atexit
class Last:
    def __del__(self):
        log.get_logger().info("last")
        log.app_line(1, "last")
keep = Last()
atexit.register(log.get_logger().info, "at exit")
"""
    process = python(code, stdout=subprocess.DEVNULL)
    assert ends_well(process) == ""
