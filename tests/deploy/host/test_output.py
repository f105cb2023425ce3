from __future__ import annotations

import fcntl
import os
import stat
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.deploy.host.excerpt import FIRST_LINES, LAST_LINES
from rainbowd.deploy.host.output import FINAL_LINES, KEPT_LINE_BYTES, LINES_A_TURN, Output, _open, open_output
from tests.accounts import needs_root, uid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "generation-1.out"


@pytest.fixture
def output(path: Path) -> Iterator[Output]:
    made = Output(path)
    yield made
    made.close()


@contextmanager
def app(argv: list[str], output: Output) -> Iterator[None]:
    """Something that writes into ``output`` until it ends or is killed."""
    with subprocess.Popen(argv, stdout=output.child_fd) as process:
        try:
            yield
        finally:
            process.kill()


def fill(output: Output) -> None:
    os.write(output.child_fd, b"more\n")


async def drained(output: Output, count: int) -> list[str]:
    """The first ``count`` lines that a sink is given."""
    lines: list[str] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            def sink(line: str) -> None:
                lines.append(line)
                if len(lines) == count:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(output.drain, sink)
    return lines


def test_it_is_a_named_pipe_for_owner_and_group(path: Path) -> None:
    before = os.umask(0o077)
    try:
        output = Output(path)
    finally:
        os.umask(before)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    output.close()


def test_what_an_earlier_run_left_there_is_replaced(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    path.symlink_to(target)
    Output(path).close()
    assert target.read_text() == "untouched"


def test_the_pipe_holds_a_mebibyte_where_that_is_allowed(output: Output) -> None:
    assert fcntl.fcntl(output.child_fd, fcntl.F_GETPIPE_SZ) >= 65536
    if os.geteuid() == 0:
        assert fcntl.fcntl(output.child_fd, fcntl.F_GETPIPE_SZ) == 1 << 20


def test_our_descriptors_are_not_inherited_and_the_apps_waits_as_any_stdout(output: Output) -> None:
    assert not os.get_inheritable(output.child_fd)
    assert not fcntl.fcntl(output.child_fd, fcntl.F_GETFL) & os.O_NONBLOCK


async def test_each_line_goes_to_the_sink_and_is_kept(output: Output) -> None:
    os.write(output.child_fd, b"one\ntwo\r\n\nthr\xffee\n")
    output.close_child_end()
    lines = await drained(output, 4)
    assert lines == output.excerpt() == ["one", "two", "", r"thr\xffee"]


async def test_a_line_may_come_in_pieces(output: Output) -> None:
    async with trio.open_nursery() as nursery:
        lines: list[str] = []
        nursery.start_soon(output.drain, lines.append)
        os.write(output.child_fd, b"caf\xc3")
        with trio.fail_after(20):
            while not output._partial:
                await trio.lowlevel.checkpoint()
        assert lines == []
        os.write(output.child_fd, b"\xa9\n")
        with trio.fail_after(20):
            while not lines:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert lines == output.excerpt() == ["caf\u00e9"]


async def test_draining_goes_on_when_the_app_is_gone_and_another_writes(output: Output, path: Path) -> None:
    output.close_child_end()
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"later\n")
    os.close(writer)
    assert await drained(output, 1) == ["later"]


async def test_more_than_a_pipe_full_never_stops_the_app(output: Output) -> None:
    count = 300_000
    with app(["seq", str(count)], output):
        lines = await drained(output, count)
    assert lines == [str(number) for number in range(1, count + 1)]
    assert output.excerpt() == [
        *lines[:FIRST_LINES],
        f"… {count - FIRST_LINES - LAST_LINES} lines …",
        *lines[-LAST_LINES:],
    ]


async def test_an_app_that_never_stops_writing_leaves_the_loop_to_others(output: Output) -> None:
    lines = 0
    most_at_once = 0

    def count(line: str) -> None:
        nonlocal lines
        lines += 1

    with app(["yes"], output):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.drain, count)
            while lines < 200_000:
                before = lines
                await trio.lowlevel.checkpoint()
                most_at_once = max(most_at_once, lines - before)
            nursery.cancel_scope.cancel()
    assert most_at_once <= 2 * LINES_A_TURN


async def test_what_one_read_brings_is_told_over_several_turns_and_nothing_is_lost(output: Output) -> None:
    os.write(output.child_fd, b"\n" * 10_000 + b"end\n")
    told: list[str] = []
    turns = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.drain, told.append)
        while "end" not in told:
            turns += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(told) == 10_001
    assert turns >= 10_000 / LINES_A_TURN


def test_at_the_end_a_flood_is_told_in_part_and_counted(output: Output) -> None:
    os.write(output.child_fd, b"\n" * 10_000)
    told: list[str] = []
    output._sink = told.append
    output.finish()
    assert told[-1] == f"… {10_000 - FINAL_LINES} lines …"
    assert len(told) == FINAL_LINES + 1


def test_the_excerpt_has_what_was_not_told_yet_and_a_line_without_end(output: Output) -> None:
    os.write(output.child_fd, b"".join(b"%d\n" % number for number in range(1000)) + b"unfinished")
    assert output.excerpt() == [*map(str, range(20)), "… 930 lines …", *map(str, range(950, 1000)), "unfinished"]
    os.write(output.child_fd, b", finished\n")
    assert output.excerpt()[-1] == "unfinished, finished"


def test_finish_reads_what_is_there_and_takes_an_unfinished_line_for_one(output: Output) -> None:
    os.write(output.child_fd, b"one\ntwo")
    output.finish()
    assert output.excerpt() == ["one", "two"]
    output.finish()
    os.write(output.child_fd, b"three\n")
    output.finish()
    assert output.excerpt() == ["one", "two", "three"]


async def test_finish_tells_the_sink_that_drain_was_given(output: Output) -> None:
    os.write(output.child_fd, b"one\n")
    assert await drained(output, 1) == ["one"]
    lines: list[str] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await output.drain(lines.append)
    os.write(output.child_fd, b"two\nthree")
    output.finish()
    assert lines == ["two", "three"]


async def test_finish_ends_where_somebody_goes_on_writing(output: Output) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await output.drain(lambda line: fill(output))
    fill(output)
    output.finish()
    assert output.excerpt()[0] == "more"


def test_each_line_that_is_kept_has_its_bound(output: Output) -> None:
    os.write(output.child_fd, b"x" * 3000 + b"\n" + b"y" * 3000 + b"\n")
    output.finish()
    assert output.excerpt() == ["x" * KEPT_LINE_BYTES, "y" * KEPT_LINE_BYTES]


def test_what_is_kept_has_no_escape_sequences_but_what_is_logged_is_as_it_was(output: Output) -> None:
    os.write(output.child_fd, b"\x1b[31mred\x1b[0m\tone\n")
    lines: list[str] = []
    output._sink = lines.append
    output.finish()
    assert lines == ["\x1b[31mred\x1b[0m\tone"]
    assert output.excerpt() == ["red\tone"]


async def test_a_line_without_end_is_told_in_pieces_and_takes_bounded_memory(output: Output) -> None:
    os.write(output.child_fd, b"x" * 200_000 + b"\n")
    lines = await drained(output, 4)
    assert "".join(lines) == "x" * 200_000
    assert len(output._partial) < 65536


def test_the_app_writes_on_while_nobody_reads_and_nothing_is_lost(path: Path) -> None:
    output = Output(path)
    write = "read -r _; head -c 50000 /dev/zero && echo written >&2; read -r _"
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", write], stdin=pipe, stdout=output.child_fd, stderr=pipe) as app:
        output.close()
        assert app.stdin is not None
        assert app.stderr is not None
        app.stdin.write(b"\n")
        app.stdin.flush()
        assert app.stderr.readline() == b"written\n"
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        assert len(os.read(reader, 1 << 20)) == 50_000
        os.close(reader)
    assert app.returncode == 1  # of the last read: its stdin was closed
    output.close()


def test_nothing_but_a_named_pipe_is_opened(path: Path) -> None:
    path.write_text("")
    with pytest.raises(FileExistsError):
        _open(path)
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(OSError, match="symbolic links"):
        _open(path)


@needs_root
@pytest.mark.parametrize("is_named", [True, False])
def test_the_pipe_is_the_apps_users_so_that_it_may_be_opened_again(path: Path, is_named: bool) -> None:
    output = Output(path if is_named else None, uid())
    assert os.fstat(output.child_fd).st_uid == uid()
    output.close()


async def test_a_pipe_without_a_name_is_read_like_one_with_a_name() -> None:
    output = Output(None)
    os.write(output.child_fd, b"one\ntwo")
    with trio.fail_after(20), trio.CancelScope() as scope:
        await output.drain(lambda _line: scope.cancel())
    output.finish()
    assert output.excerpt() == ["one", "two"]
    output.close()


def test_a_pipe_whose_file_was_removed_is_opened_through_the_process_that_writes_to_it(
    output: Output, path: Path
) -> None:
    with subprocess.Popen(
        ["sh", "-c", "echo before; read line; echo after"], stdin=subprocess.PIPE, stdout=output.child_fd
    ) as app:
        output.close()
        path.unlink()
        again = open_output(path, [app.pid])
        app.communicate(b"go on\n")
        assert again.excerpt() == ["before", "after"]
        again.close()
        assert not path.exists()


def test_a_pipe_that_nobody_has_any_more_is_replaced_by_an_empty_one(output: Output, path: Path) -> None:
    output.close()
    path.unlink()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        again = open_output(path, [other.pid])
        other.communicate(b"of another pipe\n")
    assert again.excerpt() == []
    again.close()
    assert path.is_fifo()
