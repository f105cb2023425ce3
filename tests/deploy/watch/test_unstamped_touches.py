"""Touches on a file system whose stamps are whole seconds: there, the second one within a second changes nothing."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import trio

from tests.deploy.watch.test_watcher import Watched, watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND_NS = 1_000_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with stamps of whole seconds."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-I", "128", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True).returncode:
        pytest.skip("no loop device can be mounted here")
    try:
        (place / "releases" / "v1").mkdir(parents=True)
        (place / "current").symlink_to("releases/v1")
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def touch(site: Path, at: int) -> None:
    """As touch(1) does where stamps are whole seconds."""
    os.utime(site / "trigger", ns=(at * SECOND_NS, at * SECOND_NS))


async def early_in_a_second() -> int:
    """Wait until a second has just begun; which."""
    while time.time() % 1 > 0.3:  # noqa: ASYNC110 - the clock has no event
        await trio.sleep(0.02)
    return int(time.time())


async def heard(it: Watched) -> None:
    """Wait until events are heard, and what that took is over."""
    await it.touch_until_heard()
    await it.link_again()
    await trio.sleep(0.4)


async def kinds(it: Watched, count: int) -> list[str]:
    return [(await it.next()).kind for _ in range(count)]


async def test_a_second_touch_within_a_second_is_another_trigger(site: Path) -> None:
    async with watched(site) as it:
        await heard(it)
        at = await early_in_a_second()
        touch(site, at)
        assert await kinds(it, 1) == ["file"]
        await trio.sleep(0.4)  # so that it is no part of the first
        touch(site, at)
        assert await kinds(it, 1) == ["file"]
        assert await it.link_again() == ["symlink"]


async def test_a_chmod_is_none_there_either(site: Path) -> None:
    async with watched(site) as it:
        await heard(it)
        at = await early_in_a_second()
        touch(site, at)
        assert await kinds(it, 1) == ["file"]
        await trio.sleep(0.4)
        (site / "trigger").chmod(0o600)
        assert await it.link_again() == ["symlink"]


async def test_an_old_stamp_that_is_set_again_is_none(site: Path) -> None:
    async with watched(site) as it:
        await heard(it)
        touch(site, 1_000_000_000)
        assert await kinds(it, 1) == ["file"]
        await trio.sleep(0.4)
        touch(site, 1_000_000_000)
        assert await it.link_again() == ["symlink"]


async def test_on_such_a_file_system_three_touches_are_three_triggers(disk: Path) -> None:
    async with watched(disk) as it:
        await heard(it)
        await early_in_a_second()
        for _ in range(3):
            (disk / "trigger").touch()
            assert await kinds(it, 1) == ["file"]
            await trio.sleep(0.4)
        assert await it.link_again() == ["symlink"]
