from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rainbowd
from rainbowd import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Said = Callable[[], str]

ROOT = Path(rainbowd.__file__).parents[1]
PATIENCE_SECONDS = 30.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """What was written to stdout since the last time."""

    def read() -> str:
        assert log.flush(PATIENCE_SECONDS)
        return capfd.readouterr().out

    yield read
    log.flush(PATIENCE_SECONDS)
    log.configure("info", "auto")


def python(code: str, **options: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", f"from rainbowd import log\n{code}"]
    return subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def ends_well(process: subprocess.Popen[str]) -> str:
    """What it said on stderr."""
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    return errors


# --- what an entry looks like -----------------------------------------------------------------------------


def test_a_plain_entry_has_time_level_event_and_fields(said: Said) -> None:
    log.configure("info", "auto")
    log.get_logger().info("generation live", generation=3, release="/srv/v2")
    assert re.fullmatch(TIME + " info  generation live generation=3 release=/srv/v2\n", said())


def test_a_logger_follows_what_is_configured_after_it_was_got(said: Said) -> None:
    logger = log.get_logger()
    log.configure("warning", "auto")
    logger.info("unsaid")
    assert said() == ""
    log.configure("debug", "auto")
    logger.debug("said")
    assert "debug said" in said()


def test_json_is_one_object_a_line(said: Said) -> None:
    log.configure("info", "json")
    log.get_logger().warning("two\nlines", path=Path("/srv"), output=["a", "b"], why=None)
    log.app_line(3, "caf\u00e9 \x1b[31mred\x1b[0m")
    entry, app = (json.loads(line) for line in said().splitlines())
    assert re.fullmatch(TIME, entry.pop("at"))
    assert entry == {
        "level": "warning",
        "event": "two\nlines",
        "path": "/srv",
        "output": ["a", "b"],
        "why": None,
    }
    del app["at"]
    assert app == {"event": "app", "generation": 3, "line": "caf\u00e9 red"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a="b"', r'"a=\"b\""'),
        ("caf\u00e9", "caf\u00e9"),
        ("a\nb", r'"a\nb"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        ("\x9b2J", r'"\x9b2J"'),
        ("\u202e", r'"\u202e"'),
        ("\udc80", r'"\udc80"'),
        (Path("/a b"), '"/a b"'),
        (1.23456, "1.235"),
        (None, "null"),
        (["a", 1], '["a", 1]'),
    ],
)
def test_a_value_is_one_word_that_no_terminal_obeys(said: Said, value: object, shown: str) -> None:
    log.get_logger().info("event", value=value)
    assert said().partition("value=")[2] == f"{shown}\n"


def test_an_apps_output_and_a_traceback_have_lines_of_their_own(said: Said) -> None:
    log.get_logger().error("deploy failed", output=["one", "two\x1b[2J"], exc_info=ValueError("odd"))
    first, *below = said().splitlines()
    assert first.endswith("error deploy failed")
    assert below == ["    one", r"    two\x1b[2J", "    ValueError: odd"]


def test_what_cannot_be_said_does_no_harm(said: Said) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    for form in ("auto", "json"):
        log.configure("info", form)
        log.get_logger().info("event", odd=Odd(), fine=1)
        assert "unsayable" in said()


def test_an_apps_line_is_named_by_its_generation_and_has_no_escapes(said: Said) -> None:
    log.app_line(3, "\x1b[1;31mred\x1b[0m\tand \x1b]0;title\x07")
    assert said() == "[3] red\tand \\x1b]0;title\\x07\n"


def test_on_a_terminal_there_are_colours_but_those_of_the_app() -> None:
    ours, theirs = pty.openpty()
    process = python(
        "log.get_logger().info('event', key='value'); log.app_line(3, '\x1b[5mblink\x1b[0m'); log.flush(10)",
        stdout=theirs,
    )
    os.close(theirs)
    ends_well(process)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\x1b[32minfo \x1b[0m event" in shown
    assert re.search(r"\x1b\[3\dm\[3\]\x1b\[0m blink\r\n", shown)


# --- a stdout that is not as it should be -----------------------------------------------------------------

TALK = """
import sys
for number in range(60_000):
    log.get_logger().info("line", number=number, padding="x" * 100)
print("said", log.flush(0.01), file=sys.stderr, flush=True)
sys.stdin.readline()
log.flush(30)
"""


def test_a_pipe_that_nobody_reads_stops_nothing_and_what_was_lost_is_counted() -> None:
    process = python(TALK, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
    process = python(TALK, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert ends_well(process) == "said True\n"


def test_a_full_disk_stops_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        process = python(TALK, stdin=subprocess.DEVNULL, stdout=full)
        assert ends_well(process) == "said True\n"


def test_a_stdout_that_was_closed_from_the_start_is_not_mistaken_for_what_has_its_number(
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
assert log.flush(10)
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


# --- the queue --------------------------------------------------------------------------------------------


class Place:
    """Takes what is written, as far as it has room; may be stopped."""

    def __init__(self) -> None:
        self.taken = b""
        self.room_bytes = 1 << 30
        self.is_open = threading.Event()
        self.is_open.set()
        self.was_asked = threading.Event()

    def write(self, data: bytes) -> int:
        self.was_asked.set()
        self.is_open.wait(PATIENCE_SECONDS)
        part = data[: self.room_bytes]
        self.taken += part
        self.room_bytes -= len(part)
        return len(part)


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.is_open.set()


@pytest.fixture
def writer(place: Place) -> log.Writer:
    return log.Writer(place.write, lambda lost: b"lost %d\n" % lost)


def test_lines_come_out_in_order(writer: log.Writer, place: Place) -> None:
    lines = [b"%d\n" % number for number in range(5000)]
    for line in lines:
        writer.put(line)
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"".join(lines)


@pytest.mark.parametrize(
    ("line", "kept"), [(b"x\n", log.LINES_MAX), (b"x" * ((1 << 20) - 1) + b"\n", log.BYTES_MAX >> 20)]
)
def test_the_queue_is_bounded_by_lines_and_by_bytes(writer: log.Writer, place: Place, line: bytes, kept: int) -> None:
    place.is_open.clear()
    writer.put(b"first\n")
    assert place.was_asked.wait(PATIENCE_SECONDS)
    for _ in range(kept + 7):
        writer.put(line)
    assert not writer.flush(0)
    place.is_open.set()
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"first\n" + line * kept + b"lost 7\n"


def test_lines_that_failed_are_counted_once_it_works_again(writer: log.Writer, place: Place) -> None:
    place.room_bytes = 0
    for line in (b"a\n", b"b\n", b"c\nd\n"):
        writer.put(line)
        assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b""
    place.room_bytes = 1 << 20
    writer.put(b"e\n")
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"lost 4\ne\n"


def test_a_line_that_was_torn_is_ended_and_counted(writer: log.Writer, place: Place) -> None:
    place.room_bytes = 4
    writer.put(b"a\nbcd\n")
    assert writer.flush(PATIENCE_SECONDS)
    place.room_bytes = 1 << 20
    writer.put(b"e\n")
    assert writer.flush(PATIENCE_SECONDS)
    assert place.taken == b"a\nbc\nlost 1\ne\n"


def test_no_thread_to_be_had_is_no_error(writer: log.Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        writer.put(b"a\n")
        assert writer.flush(0)
    writer.put(b"b\n")
    assert writer.flush(PATIENCE_SECONDS)


# --- a file for the apps' lines ---------------------------------------------------------------------------


def test_no_sink_drops_and_stdout_names_the_generation(said: Said) -> None:
    log.open_app_sink(None)(3, "dropped")
    log.open_app_sink("stdout")(3, "line")
    assert said() == "[3] line\n"


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
