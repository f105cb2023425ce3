"""One app as the supervisor sees it, with processes and answers that a test says."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.config import Config
from rainbowd.deploy.failures import PortTaken
from rainbowd.deploy.host.app import LaunchedApp
from rainbowd.deploy.host.checks import Checks
from rainbowd.deploy.host.health import ProbeResult
from rainbowd.deploy.host.output import StartupOutput
from rainbowd.deploy.process import ExitReport, Launch, LaunchMarks
from rainbowd.deploy.records import GenerationRecord
from rainbowd.errors import DeployFailed
from rainbowd.roster import State
from tests.deploy.process.test_process_identity import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

US = [os.getpid()]


class FakeProcess:
    """Processes that are there until they are ended."""

    pid, identity = IDENTITY.pid, IDENTITY

    def __init__(self, members: list[int]) -> None:
        self.pids = members
        self.launch = Launch.of(IDENTITY, LaunchMarks(os.getuid()))
        self.foreign_pids: list[int] = []
        self.main_pid: int | None = self.pid
        self.known: dict[int, int] = {}
        self.marks = LaunchMarks(0)
        self.ends = 0
        self.was_left = False

    async def members(self) -> list[int]:
        return self.pids

    def glimpse(self, main: int | None) -> object:
        return self.main_pid

    async def main(self) -> int | None:
        return self.main_pid

    async def foreign(self) -> list[int]:
        return self.foreign_pids

    async def end(self, **_: object) -> ExitReport:
        self.ends += 1
        return ExitReport(0, killed=False, left=[])

    def hand_over(self) -> None:
        self.was_left = True


class FakeProber:
    """Answers; each is a problem, or None."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)

    async def probe(self, *_: object) -> ProbeResult:
        problem = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return ProbeResult(problem or "200 OK", problem, is_answer=problem != "refused")


class CheckedApp:
    """An app, and what it is made of."""

    def __init__(
        self,
        address: TcpAddress,
        *,
        members: list[int],
        answers: tuple[str | None, ...] = (None,),
        is_adopted: bool = False,
        **config: Any,
    ) -> None:
        self.process, self.prober = FakeProcess(members), FakeProber(*answers)
        self.stored: list[bytes | None] = []
        parts: Any = self.process, self.prober
        process: Any = self.process
        output: Any = None
        checks = Checks(Config.model_validate({"run": "app", **config}), address, *parts, is_adopted=is_adopted)
        record = GenerationRecord(IDENTITY, started_at=1e9)
        self.app = LaunchedApp(checks, process, output, record, self._store)

    def _store(self, encode: Callable[[], bytes] | None) -> None:
        self.stored.append(None if encode is None else encode())


@pytest.fixture
def ours() -> Iterator[TcpAddress]:
    """Where this very process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield TcpAddress(*listener.getsockname())


@pytest.fixture
def nowhere() -> TcpAddress:
    """Where nobody does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return TcpAddress(*listener.getsockname())


async def test_one_that_answers_on_a_socket_of_its_own_is_healthy(ours: TcpAddress) -> None:
    await CheckedApp(ours, members=US, health="/").app.check()
    await CheckedApp(ours, members=US, warmup=0).app.check()


async def test_another_program_that_answers_on_the_port_makes_it_a_taken_port(ours: TcpAddress) -> None:
    told = f"{ours} is answered by pid {os.getpid()}, `.*`, of user .*, started outside of this generation"
    with pytest.raises(PortTaken, match=told) as failure:
        await CheckedApp(ours, members=[], health="/").app.check()
    assert failure.value.holder
    assert not any(digit in failure.value.holder for digit in "0123456789")


async def test_a_live_app_is_unhealthy_if_another_program_answers_on_its_port(ours: TcpAddress) -> None:
    assert await CheckedApp(ours, members=US, health="/").app.probe() is None
    assert "started outside" in str(await CheckedApp(ours, members=[], health="/").app.probe())


async def test_an_app_whose_main_process_could_not_be_ended_is_never_live(ours: TcpAddress) -> None:
    launch = CheckedApp(ours, members=US, health="/")
    launch.process.foreign_pids = [launch.process.pid]
    with pytest.raises(DeployFailed, match=r"the app's main process could not be ended: pid .* sudo"):
        await launch.app.check()


@pytest.mark.parametrize("secret", [None, "answered 200 OK: 'secret'"])
async def test_what_a_stranger_answers_is_not_reported(ours: TcpAddress, secret: str | None) -> None:
    launch = CheckedApp(ours, members=[], answers=(secret,), health="/")
    with pytest.raises(PortTaken, match=f"^{ours} is answered by pid .* started outside of this generation$"):
        await launch.app.check()
    assert "secret" not in str(launch.app.last_check.result)


async def test_a_strangers_answer_to_a_later_check_is_not_reported_either(ours: TcpAddress) -> None:
    launch = CheckedApp(ours, members=[], answers=("answered 500: 'secret'",), health="/")
    seen = str(await launch.app.probe())
    assert seen.startswith(f"{ours} is answered by pid {os.getpid()}, ")
    assert "secret" not in seen


async def test_the_result_of_the_last_check_is_known_while_the_check_goes_on(ours: TcpAddress) -> None:
    launch = CheckedApp(ours, members=US, answers=("503", None), health="/")
    assert launch.app.last_check.result is None
    assert await launch.app.probe() == "503"
    assert launch.app.last_check.result == "503"
    await launch.app.check()
    assert launch.app.last_check.result == "200 OK"


@pytest.mark.parametrize(("host", "is_open"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False)])
async def test_an_app_that_other_hosts_reach_past_the_proxy_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, host: str, is_open: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr("rainbowd.deploy.host.checks.log.warning", lambda event, **_: said.append(event))
    family = socket.AF_INET6 if host == "::" else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:
        here = TcpAddress("127.0.0.1", listener.getsockname()[1])
        await CheckedApp(here, members=US, health="/").app.check()
        await CheckedApp(here, members=US, health="/", is_adopted=True).app.check()
    assert said == ["the app listens on every interface"] * is_open


async def test_an_app_that_listens_elsewhere_is_known_while_its_check_waits(
    monkeypatch: pytest.MonkeyPatch, ours: TcpAddress, nowhere: TcpAddress
) -> None:
    monkeypatch.setattr("rainbowd.deploy.host.checks._SOCKETS_SECONDS", 0.0)
    launch = CheckedApp(nowhere, members=US, answers=("refused",), health="/")
    await launch.app.probe()
    assert launch.app.last_check.result == "refused"
    await launch.app.probe()
    assert str(launch.app.last_check.result).startswith("refused; the app listens on ")
    assert str(ours) in str(launch.app.last_check.result)


async def test_a_failure_does_not_say_that_it_listens_elsewhere_if_it_listens_on_every_interface() -> None:
    health = {"path": "/", "deadline": 0.5, "interval": 0.1}
    with socket.create_server(("0.0.0.0", 0)) as listener:
        here = TcpAddress("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(DeployFailed, match=r"last seen: 503$"):
            await CheckedApp(here, members=US, answers=("503",), health=health).app.check()


async def test_after_the_warm_up_the_app_must_listen(nowhere: TcpAddress) -> None:
    with pytest.raises(
        DeployFailed, match=f"not listening on {nowhere} after the warm-up; .* does not listen anywhere"
    ):
        await CheckedApp(nowhere, members=[], warmup=0).app.check()


async def test_a_failure_says_where_it_listens_instead(ours: TcpAddress, nowhere: TcpAddress) -> None:
    health = {"path": "/", "deadline": 0.5, "interval": 0.1}
    with pytest.raises(DeployFailed, match=f"last seen: refused; the app listens on .*{ours}"):
        await CheckedApp(nowhere, members=US, answers=("refused",), health=health).app.check()


@pytest.mark.parametrize("is_adopted", [False, True])
async def test_an_adopted_app_must_pass_only_one_check(ours: TcpAddress, *, is_adopted: bool) -> None:
    health = {"path": "/", "passes": 2, "deadline": 2, "timeout": 2, "interval": 0.001}
    launch = CheckedApp(ours, members=US, answers=(None, "503"), health=health, is_adopted=is_adopted)
    with contextlib.nullcontext() if is_adopted else pytest.raises(DeployFailed, match="last seen: 503"):
        await launch.app.check()


async def test_a_probe_asks_once_and_without_a_check_looks_whether_anything_runs(ours: TcpAddress) -> None:
    assert await CheckedApp(ours, members=US, answers=("500",), health="/").app.probe() == "500"
    assert await CheckedApp(ours, members=US, warmup=1).app.probe() is None
    assert await CheckedApp(ours, members=[], warmup=1).app.probe() == "nothing of it runs"


async def test_its_state_is_on_record_until_it_is_retired(ours: TcpAddress) -> None:
    launch = CheckedApp(ours, members=US, warmup=1)
    launch.app.note(State.LIVE, 1e9 + 3)
    launch.app.note(State.RETIRED, 1e9 + 3)
    live, retired = launch.stored
    assert live is not None
    record = GenerationRecord.decode(live)
    assert (record.state, record.live_at, record.identity) == (State.LIVE, 1e9 + 3, IDENTITY)
    assert retired is None


async def test_a_port_is_a_strangers_where_somebody_listens_on_it(ours: TcpAddress, nowhere: TcpAddress) -> None:
    assert CheckedApp(ours, members=[], warmup=1).app.port_is_taken()
    assert not CheckedApp(nowhere, members=[], warmup=1).app.port_is_taken()


async def test_whatever_happens_it_is_ended_once_unless_it_is_anothers(ours: TcpAddress) -> None:
    launch, left = CheckedApp(ours, members=US, warmup=1), CheckedApp(ours, members=US, warmup=1)
    left.app.leave()
    with trio.CancelScope() as scope:
        scope.cancel()
        for _ in range(2):
            await launch.app.end_if_due(trio.Event())
            await left.app.end_if_due(trio.Event())
    assert (launch.process.ends, left.process.ends, left.process.was_left) == (1, 0, True)


async def test_a_main_process_is_followed_and_what_came_to_us_is_on_record(
    ours: TcpAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rainbowd.deploy.host.launched_process._FOLLOW_SECONDS", 0.01)
    launch = CheckedApp(ours, members=US, warmup=1)
    launch.app.note(State.LIVE, 1e9)
    launch.process.main_pid = None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def change() -> None:
                assert await launch.app.main_changed(launch.process.pid) == 4712

            await trio.testing.wait_all_tasks_blocked()
            launch.process.known = {4712: 99}
            launch.process.main_pid = 4712
    before, after = (GenerationRecord.decode(kept) for kept in launch.stored if kept is not None)
    assert after == replace(before, known={4712: 99})


def test_its_startup_output_ends_when_it_is_live(nowhere: TcpAddress) -> None:
    app = CheckedApp(nowhere, members=[1]).app
    app.startup_output = kept = StartupOutput(lambda encode: None)
    app.note(State.STARTING, None)
    assert app.startup_output is kept
    app.note(State.LIVE, 1e9)
    assert app.startup_output is None


async def test_its_record_is_stored_again_as_it_was_until_it_is_retired(nowhere: TcpAddress) -> None:
    app = CheckedApp(nowhere, members=US, warmup=0)
    app.app.store_again()
    assert app.stored == [GenerationRecord(IDENTITY, started_at=1e9).encode()]
    app.app.note(State.LIVE, 2e9)
    app.app.store_again()
    assert app.stored[1] == app.stored[2] != app.stored[0]
    app.app.note(State.RETIRED, 2e9)
    app.app.store_again()
    assert app.stored[3:] == [None]
