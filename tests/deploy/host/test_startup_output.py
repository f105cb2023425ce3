from __future__ import annotations

from rainbowd.deploy.host.output import STARTUP_BYTES, StartupOutput


def test_what_is_kept_grows_until_the_end() -> None:
    kept: list[bytes] = []
    boot = StartupOutput(kept.append)
    boot.append("one")
    boot.append("two \udcff")
    boot.finish()
    boot.append("three")
    assert kept == [b"one\n", b"one\ntwo \\udcff\n"]


def test_what_is_kept_is_bounded_and_is_the_beginning() -> None:
    kept: list[bytes] = []
    boot = StartupOutput(kept.append)
    for _ in range(3):
        boot.append("x" * (STARTUP_BYTES // 2 - 1))
    boot.append("short")
    assert len(kept) == 2
    assert len(kept[-1]) == STARTUP_BYTES


def test_what_is_kept_has_no_escape_sequences() -> None:
    kept: list[bytes] = []
    StartupOutput(kept.append).append("\x1b[1mbold\x1b[0m\tand \x1b]0;a title\x07plain")
    assert kept == [b"bold\tand plain\n"]
