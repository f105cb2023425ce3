"""Turns of a real link for a supervisor that is none; with the real one see ``tests/live/test_api.py``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from rainbowd import release_link
from rainbowd.deploy.deploys import api_deploys
from rainbowd.deploy.deploys.api_deploys import ApiDeploys
from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.progress import Progress, Step
from rainbowd.deploy.generations.agent_ownership import Ownership
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import Declined
from rainbowd.report.outcome import Outcome
from rainbowd.roster import Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class FakeSupervisor:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.triggers: list[Trigger] = []
        self.deploys: list[Deploy] = []
        self.is_stopping = False
        self.ownership = Ownership()
        self.named_release: Path | None = None

    def request(self, trigger: Trigger) -> Deploy | None:
        if self.is_stopping:
            return None
        self.triggers.append(trigger)
        self.deploys.append(Deploy())
        return self.deploys[-1]


class Site:
    """A link to release ``a``, a release ``b``, and somebody who looks at the link as the watching does."""

    def __init__(self, directory: Path) -> None:
        self.link = directory / "current"
        for name in ("a", "b", "c"):
            (directory / "releases" / name).mkdir(parents=True)
        self.link.symlink_to("releases/a")
        self.supervisor = FakeSupervisor()
        self.api_deploys = ApiDeploys(self.supervisor, Roster(), self.link, base=directory, state_dir=directory)  # type: ignore[arg-type]
        self.is_watched = True
        self._seen = self.link.lstat()

    @property
    def kinds(self) -> list[str]:
        return [trigger.kind for trigger in self.supervisor.triggers]

    async def watch(self) -> None:
        while True:
            await trio.sleep(0.005)
            seen, self._seen = self._seen, self.link.lstat()
            if self.is_watched and self._seen.st_ino != seen.st_ino:
                self.api_deploys.take_trigger(Trigger("symlink", by="somebody"))
                self.supervisor.named_release = self.link.resolve()

    async def until(self, look: Callable[[], object]) -> None:
        while not look():  # noqa: ASYNC110 - neither a link nor a fake tells anybody
            await trio.sleep(0.001)


@contextlib.asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    here = Site(directory)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.watch)
            nursery.start_soon(here.api_deploys.run)
            yield here
            nursery.cancel_scope.cancel()


async def test_a_turn_by_a_call_is_known_as_the_calls(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        asked = await here.api_deploys.redeploy("b", "why\x1b", "10.0.0.7")
        (trigger,) = here.supervisor.triggers
        assert (trigger.kind, trigger.note, trigger.by) == ("api", "why\\x1b", "10.0.0.7")
        assert asked.id == here.supervisor.deploys[0].id
        assert release_link.read(here.link) == "releases/b"


async def test_a_call_to_an_agent_on_trial_waits_until_all_is_its_own(tmp_path: Path) -> None:
    async with site(tmp_path) as here, trio.open_nursery() as nursery:
        here.supervisor.ownership = Ownership(is_complete=False)
        nursery.start_soon(here.api_deploys.redeploy, "b", None)
        nursery.start_soon(here.api_deploys.redeploy, None, None)
        await trio.sleep(0.05)  # long enough for either to have gone on
        assert (here.supervisor.triggers, release_link.read(here.link)) == ([], "releases/a")
        here.supervisor.ownership.complete()
        await here.until(lambda: len(here.supervisor.triggers) == 2)
        assert release_link.read(here.link) == "releases/b"


async def test_a_turn_by_somebody_else_is_his(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        release_link.repoint(here.link, tmp_path / "releases" / "b")
        await here.until(lambda: here.kinds)
        assert here.kinds == ["symlink"]


async def test_a_failed_deploys_link_is_restored_before_it_is_reported(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        asked = await here.api_deploys.redeploy("b", None)
        deploy = here.supervisor.deploys[0]
        deploy.outcome = Outcome("failed", 2, None, "it is bad")
        deploy.finished.set()
        assert await asked.outcome() is deploy.outcome
        assert release_link.read(here.link) == "releases/a"


async def test_a_link_change_that_another_request_took_is_requested_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_deploys, "NOTICE_SECONDS", 0.05)
    async with site(tmp_path) as here:
        here.is_watched = False
        await here.api_deploys.redeploy("b", None)
        assert (here.kinds, here.supervisor.triggers[0].request) == (["api"], None)


async def test_a_link_that_was_turned_elsewhere_meanwhile_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_deploys, "NOTICE_SECONDS", 0.2)
    async with site(tmp_path) as here:
        here.is_watched = False

        async def interfere() -> None:
            await here.until(lambda: release_link.read(here.link) == "releases/b")
            release_link.repoint(here.link, tmp_path / "releases" / "c")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interfere)
            with pytest.raises(Declined, match="changed again") as caught:
                await here.api_deploys.redeploy("b", None)
        assert (caught.value.status, here.kinds, release_link.read(here.link)) == (409, [], "releases/c")


async def test_a_caller_who_goes_away_changes_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.api_deploys.redeploy, "b", None)
            await here.until(lambda: release_link.read(here.link) == "releases/b")
            nursery.cancel_scope.cancel()
        await here.until(lambda: here.kinds)
        assert here.kinds == ["api"]


async def test_calls_at_once_turn_the_link_one_after_the_other(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        async with trio.open_nursery() as nursery:
            for name in ("b", "c", "b"):
                nursery.start_soon(here.api_deploys.redeploy, name, None)
        assert here.kinds == ["api"] * 3


@pytest.mark.parametrize("release", ["b", None])
async def test_an_agent_that_stops_takes_no_calls(tmp_path: Path, release: str | None) -> None:
    async with site(tmp_path) as here:
        here.supervisor.is_stopping = True
        with pytest.raises(Declined, match="stopping") as caught:
            await here.api_deploys.redeploy(release, None)
        assert caught.value.status == 503
        here.supervisor.ownership.give_up()
        with pytest.raises(Declined, match="being upgraded: ask again"):
            await here.api_deploys.redeploy(release, None)


async def test_a_plain_directory_is_deployed_and_not_turned(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.is_watched = False
        here.link.unlink()
        here.link.mkdir()
        with pytest.raises(Declined, match="expected a symlink") as caught:
            await here.api_deploys.redeploy("b", None)
        assert caught.value.status == 409
        with pytest.raises(Declined, match="expected a symlink"):
            await here.api_deploys.rollback(None)
        await here.api_deploys.redeploy(None, None)
        assert here.kinds == ["api"]


async def test_a_bug_in_one_call_is_no_end_of_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any) -> None:
        raise ZeroDivisionError

    async with site(tmp_path) as here:
        with monkeypatch.context() as patch:
            patch.setattr(release_link, "repoint", broken)
            with pytest.raises(Declined) as caught:
                await here.api_deploys.redeploy("b", None)
            assert caught.value.status == 500
        await here.api_deploys.redeploy("b", None)
        assert here.kinds == ["api"]


def bake(deploy: Deploy) -> None:
    """Make the release of ``deploy`` live and watched."""
    deploy.progress = Progress(lambda: 0.0, lambda: None)
    deploy.progress.begin(Step.BAKE)


async def test_a_deploy_that_bakes_can_be_continued_by_another_agent(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.api_deploys.redeploy("b", None)
        deploy = here.supervisor.deploys[0]
        assert not here.api_deploys.is_idle
        bake(deploy)
        await here.until(lambda: here.api_deploys.is_idle)
        assert deploy.link_change is not None
        assert (deploy.link_change.link, deploy.link_change.before) == (here.link, "releases/a")
        deploy.outcome = Outcome("failed", 2, None, "it is bad")
        assert not here.api_deploys.is_idle, "the link is not restored yet"
        deploy.finished.set()
        await here.until(lambda: here.api_deploys.is_idle)
        assert release_link.read(here.link) == "releases/a"


@pytest.mark.parametrize("release", ["b", None])
async def test_a_caller_that_waits_is_told_that_the_next_agent_continues(tmp_path: Path, release: str | None) -> None:
    async with site(tmp_path) as here:
        asked = await here.api_deploys.redeploy(release, None)
        bake(here.supervisor.deploys[0])
        here.supervisor.deploys[0].finished.set()
        with pytest.raises(Declined, match=f"the next one continues deploy {asked.id}") as caught:
            await asked.outcome()
        assert caught.value.status == 503
        assert release_link.read(here.link) == ("releases/b" if release else "releases/a")
