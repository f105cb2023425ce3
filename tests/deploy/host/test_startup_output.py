from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.deploy.host.output import STARTUP_BYTES, StartupOutput

if TYPE_CHECKING:
    from collections.abc import Callable


class Stored(list[bytes]):
    """The contents of a file, one after another."""

    def add(self, encode: Callable[[], bytes]) -> None:
        self.append(encode())


def test_it_only_grows() -> None:
    stored = Stored()
    startup_output = StartupOutput(stored.add)
    startup_output.append("one")
    startup_output.append("two \udcff")
    assert stored == [b"one\n", b"one\ntwo \\udcff\n"]


def test_it_is_bounded_and_is_the_beginning() -> None:
    stored = Stored()
    startup_output = StartupOutput(stored.add)
    for _ in range(3):
        startup_output.append("x" * (STARTUP_BYTES // 2 - 1))
    startup_output.append("short")
    assert len(stored) == 2
    assert len(stored[-1]) == STARTUP_BYTES


def test_it_has_no_escape_sequences() -> None:
    stored = Stored()
    StartupOutput(stored.add).append("\x1b[1mbold\x1b[0m\tand \x1b]0;a title\x07plain")
    assert stored == [b"bold\tand plain\n"]
