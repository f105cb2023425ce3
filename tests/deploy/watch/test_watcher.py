from __future__ import annotations

import json
import os
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import watchfiles

from rainbowd.deploy.watch import file_state
from rainbowd.deploy.watch import watcher as watching
from rainbowd.deploy.watch.watcher import Trigger, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rainbowd.deploy.watch.file_state import FileState

FOR_EVER = 3600.0
ME = watching._user_name(os.geteuid())


def shell(command: str, site: Path) -> None:
    subprocess.run(["sh", "-ec", command], cwd=site, check=True)


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what happens in other threads or processes, which no event tells of."""
    while not is_so():  # noqa: ASYNC110
        await trio.sleep(0.001)


class Looks:
    """Every sight that was seen, so that a test can act once the watcher has seen something."""

    def __init__(self) -> None:
        self.sights: list[FileState] = []

    async def until(self, seen: Callable[[FileState], bool], *, times: int = 1) -> None:
        await until(lambda: sum(map(seen, self.sights)) >= times)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    really_look = file_state.observe

    def look(release: Path, trigger_file: Path | None) -> FileState:
        now = really_look(release, trigger_file)
        found.sights.append(now)
        return now

    monkeypatch.setattr(file_state, "observe", look)
    return found


class Warnings:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, event: str, **fields: object) -> None:
        self.texts.append(f"{event} {fields}")

    async def until_one(self) -> None:
        await until(lambda: self.texts)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Warnings:
    found = Warnings()
    monkeypatch.setattr(watching, "log", found)
    return found


class Watched:
    """A site that is watched; what is done to it is done by the shell, as people do it."""

    def __init__(self, site: Path, triggers: trio.MemoryReceiveChannel[Trigger]) -> None:
        self.site = site
        self.next = triggers.receive

    async def sh(self, command: str) -> None:
        await trio.run_process(["sh", "-ec", command], cwd=self.site)

    async def until(self, kind: str) -> list[str]:
        """The kinds of all triggers up to the next of ``kind``."""
        kinds = [(await self.next()).kind]
        while kinds[-1] != kind:
            kinds.append((await self.next()).kind)
        return kinds

    async def link_again(self) -> list[str]:
        """Do what is certain to trigger; the kinds of all triggers until that one."""
        await self.sh("ln -sfT releases/v1 new; mv -T new current")
        return await self.until("symlink")

    async def touch_again(self) -> list[str]:
        await self.sh("touch new; mv new trigger")
        return await self.until("file")

    async def touch_until_heard(self) -> None:
        """Touch time and again until an event told of it: one before inotify listens tells nobody."""
        async with trio.open_nursery() as nursery:

            async def touch() -> None:
                while True:
                    (self.site / "trigger").touch()
                    await trio.sleep(0.05)

            nursery.start_soon(touch)
            assert (await self.next()).kind == "file"
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def watched(
    site: Path, release: str = "current", trigger_file: str | None = "trigger", *, seen: FileState | None = None
) -> AsyncIterator[Watched]:
    reported, triggers = trio.open_memory_channel[Trigger](1000)
    trigger_path = None if trigger_file is None else site / trigger_file
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[None]) -> None:
                await watch(site / release, trigger_path, reported.send_nowait, seen=seen, task_status=task_status)

            await nursery.start(run)
            yield Watched(site, triggers)
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()  # too slow an end is a failure too


# --- the link ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "ln -sfn releases/v2 current",
        "ln -sfT releases/v2 current",
        "ln -sfn $PWD/releases/v2 current",
        "ln -sfn $PWD/releases/v2/ current",
        "rm current; ln -s releases/v2 current",
        "rm -f current && ln -s $PWD/releases/v2 current",
        # Capistrano, Deployer, Mina, Ansible's file module
        "mkdir tmp; ln -s $PWD/releases/v2 tmp/current; mv tmp/current .",
        "ln -s releases/v2 release; mv -T release current",
        "ln -nfs releases/v2 current",
        'ln -s $PWD/releases/v2 .ansible_tmp; python3 -c \'import os; os.rename(".ansible_tmp", "current")\'',
        # The same again
        "ln -sfn releases/v1 current",
        "ln -s releases/v1 new; mv -T new current",
        "rm current; ln -s releases/v1 current",
    ],
)
async def test_every_way_of_linking_is_one_trigger(site: Path, command: str) -> None:
    async with watched(site) as it:
        await it.sh(command)
        assert await it.next() == Trigger("symlink", by=ME)
        assert await it.touch_again() == ["file"]


async def test_a_link_turned_time_and_again_is_one_trigger_each(site: Path) -> None:
    async with watched(site) as it:
        for number in range(6):
            await it.sh(f"ln -sfn releases/v{number % 2 + 1} current")
            assert (await it.next()).kind == "symlink"
        assert await it.touch_again() == ["file"]


async def test_a_moment_without_the_link_is_waited_out(
    site: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TRANSIENT_SECONDS", FOR_EVER)
    async with watched(site) as it:
        await it.sh("rm current")
        await looks.until(lambda look: look.release is None, times=4)
        await it.sh("ln -s releases/v2 current")
        assert (await it.next()).kind == "symlink"
        assert await it.touch_again() == ["file"]


async def test_a_link_moved_away_and_back_in_a_moment_is_no_trigger(
    site: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TRANSIENT_SECONDS", FOR_EVER)
    async with watched(site) as it:
        await it.sh("mv current away")
        await looks.until(lambda look: look.release is None, times=4)
        await it.sh("mv away current")
        assert await it.touch_again() == ["file"]


@pytest.mark.parametrize("command", ["rm current", "ln -sfn releases/v9 current", "rm -r releases/v1"])
async def test_a_link_that_stays_away_or_dangles_is_one_trigger(site: Path, command: str) -> None:
    async with watched(site) as it:
        await it.sh(command)
        assert (await it.next()).kind == "symlink"
        assert await it.touch_again() == ["file"]
        await it.sh("mkdir -p releases/v1")
        assert "symlink" in await it.link_again()


async def test_a_dangling_link_whose_target_comes_is_one_more_trigger(site: Path) -> None:
    async with watched(site) as it:
        await it.sh("ln -sfn releases/v9 current")
        assert (await it.next()).kind == "symlink"
        await it.sh("mkdir releases/v9")
        assert (await it.next()).kind == "symlink"
        assert await it.touch_again() == ["file"]


async def test_of_a_plain_directory_only_the_trigger_file_counts(site: Path) -> None:
    async with watched(site, release="releases/v1") as it:
        await it.sh("touch releases/v1/a releases/b; mv releases/v1 releases/v3; mkdir releases/v1")
        assert await it.touch_again() == ["file"]


async def test_a_link_replaced_by_a_directory_is_one_trigger_and_a_warning(site: Path, warnings: Warnings) -> None:
    async with watched(site) as it:
        await it.sh("rm current; mkdir current")
        assert (await it.next()).kind == "symlink"
        assert "is a directory now" in warnings.texts[0]


async def test_a_plain_directory_replaced_by_a_link_is_one_trigger(site: Path) -> None:
    async with watched(site, release="releases/v1") as it:
        await it.sh("rmdir releases/v1; ln -s v2 releases/v1")
        assert (await it.next()).kind == "symlink"
        assert await it.touch_again() == ["file"]


# --- the trigger file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["rm trigger", "true", "echo before >trigger"])
@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("rm -f trigger; touch trigger", None),
        ("echo words >new; mv new trigger", "words"),
        ("echo words >trigger", "words"),
        ("rm -f trigger; echo words >>trigger", "words"),
        ("cp -p releases/../current/../v2/note trigger", "copied"),
    ],
)
async def test_every_way_of_writing_is_one_trigger(site: Path, there: str, command: str, note: str | None) -> None:
    (site / "releases/v2/note").write_text("copied\n")
    os.utime(site / "releases/v2/note", (0, 0))
    shell(there, site)
    async with watched(site) as it:
        await it.sh(command)
        assert await it.next() == Trigger("file", note=note, by=ME)
        assert await it.link_again() == ["symlink"]


@pytest.mark.parametrize("command", ["touch trigger", "echo more >>trigger"])
async def test_touching_and_appending_are_one_trigger_with_the_first_line(site: Path, command: str) -> None:
    (site / "trigger").write_text("first line\n")
    async with watched(site) as it:
        await it.sh(command)
        assert (await it.next()).note == "first line"
        assert await it.link_again() == ["symlink"]


async def test_a_file_emptied_for_a_command_that_then_writes_is_one_trigger(
    site: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TRANSIENT_SECONDS", FOR_EVER)
    (site / "trigger").write_text("before")
    async with watched(site) as it:
        with (site / "trigger").open("w") as writing:
            await looks.until(lambda look: look.trigger[0].size_bytes == 0, times=4)
            writing.write("after")
        assert (await it.next()).note == "after"
        assert await it.link_again() == ["symlink"]


@pytest.mark.parametrize("command", ["cat trigger", "chmod 600 trigger", "rm trigger"])
async def test_reading_chmod_and_removing_are_no_trigger(site: Path, command: str) -> None:
    async with watched(site) as it:
        await it.sh(command)
        assert await it.link_again() == ["symlink"]


async def test_a_trigger_file_in_the_release_is_another_one_after_a_turn_and_not_touched(site: Path) -> None:
    for name in ("v1", "v2"):
        (site / "releases" / name / "restart.txt").touch()
    async with watched(site, trigger_file="current/restart.txt") as it:
        await it.sh("ln -sfT releases/v2 new; mv -T new current")
        assert (await it.next()).kind == "symlink"
        assert await it.link_again() == ["symlink"]
        await it.sh("touch releases/v1/restart.txt")
        assert (await it.next()).kind == "file"


async def test_a_thousand_files_next_to_the_trigger_request_nothing(site: Path) -> None:
    async with watched(site) as it:
        for number in range(1000):
            (site / f"file{number}").touch()
        assert await it.link_again() == ["symlink"]


async def test_a_busy_directory_does_not_hide_the_trigger(site: Path) -> None:
    async with watched(site) as it, trio.open_nursery() as nursery:

        async def be_busy() -> None:
            while True:
                (site / "busy").touch()
                await trio.sleep(0.004)

        nursery.start_soon(be_busy)
        await it.sh("touch trigger")
        assert (await it.next()).kind == "file"
        assert await it.link_again() == ["symlink"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("make", "note"),
    [
        ("echo password >secret; ln -sfn secret trigger", None),
        ("echo password >secret; ln -f secret trigger", None),
        ("rm trigger; ln -s nothing-yet trigger", None),
        ("rm trigger; mkfifo trigger", None),
        ("rm trigger; mkdir trigger", None),
        ("head -c 1048576 /dev/zero | tr '\\0' x >trigger", "x" * 1024),
    ],
)
async def test_touching_a_strange_trigger_file_deploys_and_does_no_harm(
    site: Path, make: str, note: str | None
) -> None:
    shell(make, site)
    async with watched(site) as it:
        await it.sh("touch trigger")
        assert await it.next() == Trigger("file", note=note, by=ME)
        assert await it.link_again() == ["symlink"]


async def test_what_turns_up_in_place_of_the_trigger_file_deploys_and_is_not_read(site: Path) -> None:
    async with watched(site) as it:
        await it.sh("mkfifo new; mv new trigger")
        assert await it.next() == Trigger("file", by=ME)
        await it.sh("ln -s /etc/passwd new; mv -T new trigger")
        assert await it.next() == Trigger("file", by=ME)
        assert await it.link_again() == ["symlink"]


async def test_without_a_trigger_file_the_link_alone_counts(site: Path) -> None:
    async with watched(site, trigger_file=None) as it:
        await it.sh("touch trigger")
        assert await it.link_again() == ["symlink"]


async def test_link_and_trigger_file_at_once_are_reported_without_a_pause(
    site: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TRANSIENT_SECONDS", FOR_EVER)
    reported: list[Trigger] = []
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):

            async def run(task_status: trio.TaskStatus[None]) -> None:
                await watch(site / "current", site / "trigger", reported.append, seen=None, task_status=task_status)

            await nursery.start(run)
            (site / "current").unlink()
            await looks.until(lambda look: look.release is None, times=4)
            (site / "trigger").write_text("both")
            (site / "current").symlink_to("releases/v2")
            await until(lambda: reported)
            assert [trigger.kind for trigger in reported] == ["symlink", "file"]
            nursery.cancel_scope.cancel()


# --- what rainbowd deploy writes --------------------------------------------------------------------------


def write_note(site: Path, request: str, release: str) -> None:
    (site / "new").write_text(json.dumps({"request": request, "note": "words", "release": release}))
    (site / "new").replace(site / "trigger")


@pytest.mark.parametrize("form", ["{site}/releases/v2", "{site}/releases/v1", "releases/v2"])
async def test_a_note_and_the_turn_that_it_names_are_one_trigger(
    site: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(watching, "LINK_SECONDS", FOR_EVER)
    release = form.format(site=site)
    async with watched(site) as it:
        before = file_state.observe(site / "current", site / "trigger")
        write_note(site, "r1", release)
        await looks.until(lambda look: file_state.trigger_touched(before, look), times=4)
        await it.sh(f"ln -sfn {release} current")
        assert await it.next() == Trigger("file", note="words", by=ME, request="r1")
        assert await it.touch_again() == ["file"]


async def test_a_touch_of_the_file_that_a_deploy_left_is_no_second_deploy_of_its_note(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LINK_SECONDS", FOR_EVER)
    async with watched(site) as it:
        write_note(site, "r1", "releases/v2")
        await it.sh("ln -sfn releases/v2 current")
        assert (await it.next()).request == "r1"
        await it.sh("touch trigger")
        assert await it.next() == Trigger("file", note=None, by=ME, request=None)
        write_note(site, "r2", "releases/v1")
        await it.sh("ln -sfn releases/v1 current")
        assert (await it.next()).request == "r2"


async def test_a_turn_that_does_not_come_is_not_waited_for_for_ever(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LINK_SECONDS", 0.02)
    async with watched(site) as it:
        write_note(site, "r1", "releases/v2")
        assert (await it.next()).request == "r1"
        await it.sh("ln -sfn releases/v2 current")
        assert (await it.next()).kind == "symlink"
        assert await it.touch_again() == ["file"]


async def test_a_turn_elsewhere_is_a_trigger_of_its_own(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LINK_SECONDS", 0.02)
    async with watched(site) as it:
        write_note(site, "r1", f"{site}/releases/v9")
        await it.sh("ln -sfn releases/v2 current")
        assert {(await it.next()).kind, (await it.next()).kind} == {"file", "symlink"}
        assert await it.touch_again() == ["file"]


async def test_a_second_note_does_not_swallow_the_first(
    site: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LINK_SECONDS", FOR_EVER)
    async with watched(site) as it:
        read: list[str] = []
        really_read = file_state.read_note

        def read_note(path: Path) -> file_state.TriggerNote:
            note = really_read(path)
            read.append(str(note.request))
            return note

        monkeypatch.setattr(file_state, "read_note", read_note)
        write_note(site, "r1", "releases/v2")
        await until(lambda: read)
        seen = len(looks.sights)
        await until(lambda: len(looks.sights) > seen + 3)  # settled, and waiting for the turn
        write_note(site, "r2", "releases/v2")
        assert (await it.next()).request == "r1"
        await it.sh("ln -sfn releases/v2 current")
        assert await it.next() == Trigger("file", note="words", by=ME, request="r2")
        assert await it.touch_again() == ["file"]


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["rm -r app; mkdir app", "mv app old; mkdir app", "rm -r app"])
async def test_a_directory_made_again_is_listened_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    opened: list[object] = []
    really_awatch = watchfiles.awatch

    def awatch(*paths: Path, **settings: Any) -> object:
        opened.append(paths)
        return really_awatch(*paths, **settings)

    monkeypatch.setattr(watching, "awatch", awatch)
    (tmp_path / "app").mkdir()
    async with watched(tmp_path, release="link", trigger_file="app/trigger") as it:
        await until(lambda: opened)
        await it.sh(command)
        await until(lambda: len(opened) > 1)
        for _ in range(2):
            await it.sh("mkdir -p app; touch app/trigger")
            assert (await it.next()).kind == "file"


async def test_missing_paths_are_waited_for(tmp_path: Path) -> None:
    async with watched(tmp_path, release="site/current", trigger_file="app/trigger") as it:
        await it.sh("mkdir app site v1; ln -s ../v1 site/current")
        assert (await it.next()).kind == "symlink"
        await it.sh("touch app/trigger")
        assert (await it.next()).kind == "file"
        await it.sh("ln -sfn ../v1 site/current")
        assert await it.until("symlink") == ["symlink"]


async def test_changes_since_what_was_seen_are_reported(site: Path) -> None:
    seen = file_state.observe(site / "current", site / "trigger")
    shell("ln -sfn releases/v2 current; rm trigger; touch trigger", site)
    async with watched(site, seen=seen) as it:
        assert [(await it.next()).kind, (await it.next()).kind] == ["symlink", "file"]
        assert await it.touch_again() == ["file"]
    seen = file_state.observe(site / "current", site / "trigger")
    async with watched(site, seen=seen) as it:
        assert await it.link_again() == ["symlink"]


async def test_lost_events_lose_no_trigger(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def awatch(*paths: Path, **settings: object) -> AsyncIterator[set[object]]:
        await trio.sleep_forever()
        yield set()

    monkeypatch.setattr(watching, "awatch", awatch)
    async with watched(site) as it:
        await it.sh("touch trigger")
        assert (await it.next()).kind == "file"
        assert await it.link_again() == ["symlink"]


async def test_without_inotify_it_continues_and_a_warning_names_the_limits(
    site: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    def awatch(*paths: Path, **settings: object) -> AsyncIterator[set[object]]:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watching, "awatch", awatch)
    async with watched(site) as it:
        await warnings.until_one()
        await it.sh("touch trigger")
        assert (await it.next()).kind == "file"
        assert await it.link_again() == ["symlink"]
    (text,) = warnings.texts
    assert "OS file watch limit reached." in text
    assert "fs.inotify.max_user_watches" in text
    assert "fs.inotify.max_user_instances" in text


async def test_a_disk_that_fails_for_a_while_is_one_warning_and_no_trigger(
    site: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    is_failing = True
    really_lstat = file_state._lstat

    def lstat(path: Path) -> os.stat_result | None:
        if is_failing:
            raise OSError("Stale file handle")
        return really_lstat(path)

    monkeypatch.setattr(file_state, "_lstat", lstat)
    async with watched(site) as it:
        await warnings.until_one()
        is_failing = False
        assert "symlink" not in await it.touch_again()
        warnings.texts.clear()
        is_failing = True
        await it.sh("touch other")
        await warnings.until_one()
        is_failing = False
        assert await it.link_again() == ["symlink"]
    assert len(warnings.texts) == 1


async def test_cancelling_does_not_wait_for_an_event(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "COMPARE_SECONDS", 60.0)
    async with watched(site) as it:
        await it.touch_until_heard()


async def test_polling_requested_by_the_environment_is_not_used(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    monkeypatch.setattr(watching, "COMPARE_SECONDS", 60.0)
    asked: list[object] = []
    really_awatch = watchfiles.awatch

    def awatch(*paths: Path, **settings: Any) -> object:
        asked.append(settings["force_polling"])
        return really_awatch(*paths, **settings)

    monkeypatch.setattr(watching, "awatch", awatch)
    async with watched(site) as it:
        await it.touch_until_heard()
    assert asked == [False]


async def test_an_owner_without_a_name_is_shown_by_number(site: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(site / "trigger", 54321, -1)
    async with watched(site) as it:
        await it.sh("touch trigger")
        assert (await it.next()).by == "54321"
