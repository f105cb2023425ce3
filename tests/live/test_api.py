from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from rainbowd.cli.start_api import PACKAGES
from tests.api.test_routes import REGISTRY
from tests.live.agent import ROOT, Agent, free_port, running
from tests.live.api import Caller, enabled, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

QUICK = {"drain": {"kill_after": 2}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Caller]:
    port = free_port()
    with running(tmp_path, **QUICK, **enabled(port)) as agent:
        caller = Caller(agent, port)
        caller.until_it_listens()
        yield caller


def pid(agent: Agent) -> int:
    assert agent.process is not None
    return agent.process.pid


def asked(agent: Agent) -> list[str]:
    return [event["trigger"] for event in agent.events() if event["event"] == "deploy.requested"]


def test_by_default_nothing_listens_but_the_proxy(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert listening(pid(agent)) == {str(agent.port)}
        assert not (agent.state_dir / "token").exists()


def test_the_old_way_to_deploy_works_with_the_header_added(api: Caller) -> None:
    agent = api.agent
    fields = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {api.token}"}
    connection = http.client.HTTPConnection("localhost", api.port, timeout=20)
    connection.request("POST", "/redeploy", b"", fields)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    assert answer.status == 202
    decided = agent.decision(0, trigger="api")
    assert told == b'{"deploy": "%s"}\n' % decided["deploy"].encode()
    assert (decided["event"], decided["generation"]) == ("deploy.succeeded", 2)


TRAVERSALS = (
    *("..", ".", "", "/", "//", "gone", "elsewhere", "/tmp", "releases", "releases/a/../..", "../elsewhere"),
    *(
        "releases/../elsewhere",
        "releases/a/../../elsewhere",
        "./elsewhere",
        "a/..",
        "a/../..",
        "/etc",
        "/proc/self/cwd",
    ),
    *("%2e%2e/elsewhere", "..\\elsewhere", "\udc2e\udc2e", "a\0", "a\nb", "~", "$HOME", "releases/link"),
)
"""Texts that do not name a release next to the present one."""


def test_a_release_is_deployed_by_its_name_with_one_launch_and_the_link_stays_relative(api: Caller) -> None:
    agent = api.agent
    answer = api.deploy({"release": "b", "note": "to b"})
    assert (answer.status, answer.told["result"]) == (200, "succeeded")
    assert answer.told["release"] == str(agent.directory / "releases" / "b")
    assert agent.link.readlink() == Path("releases/b")
    assert api.deploy({"release": "releases/a"}).told["generation"] == 3
    assert asked(agent) == ["start", "api", "api"]
    requested = agent.wait_for("deploy.requested", trigger="api")
    assert (requested["note"], requested["by"]) == ("to b", "127.0.0.1")
    assert api.call("GET", "/status").told["live"] == 3
    assert [entry["note"] for entry in api.call("GET", "/history").told] == [None, "to b", None]


def test_a_bad_release_is_reported_with_its_output_and_the_link_is_restored(api: Caller) -> None:
    agent = api.agent
    agent.add_release("bad", exit_status=3, output=["about to go wrong"])
    answer = api.deploy({"release": "bad"})
    assert answer.status == 422
    assert answer.fields["content-type"] == "application/problem+json"
    assert answer.told["reason"] == "the app exited with status 3 before it was ready"
    assert "about to go wrong" in answer.told["output"]
    assert agent.link.readlink() == Path("releases/a")
    agent.wait_for("link.restored")
    status = api.call("GET", "/status").told
    assert (status["live"], status["last_deploy"]["result"]) == (1, "failed")
    assert status["wanted"] == str(agent.directory / "releases" / "a")


def test_the_link_goes_back_for_who_does_not_wait_too_but_not_over_a_later_turn(api: Caller) -> None:
    agent = api.agent
    agent.add_release("bad", listen=False)
    assert api.call("POST", "/redeploy", {"release": "bad"}).status == 202
    agent.wait_for("generation.launched", generation=2)
    agent.flip("b")
    assert agent.wait_for("deploy.succeeded", generation=3)["release"].endswith("/b")
    assert "superseded by" in agent.wait_for("deploy.failed")["reason"]
    assert agent.link.readlink() == Path("releases/b")


def test_a_rollback_goes_back_and_back_again(api: Caller) -> None:
    agent = api.agent
    refused = api.deploy(path="/rollback")
    assert (refused.status, asked(agent)) == (409, ["start"])
    assert api.deploy({"release": "b"}).status == 200
    for release in ("a", "b"):
        answer = api.deploy({"note": "back"}, path="/rollback")
        assert (answer.status, Path(answer.told["release"]).name) == (200, release)
        assert agent.link.readlink() == Path(f"releases/{release}")


def test_a_rollback_ends_a_deploy_that_is_under_way_without_a_launch(api: Caller) -> None:
    agent = api.agent
    agent.add_release("never", listen=False)
    api.call("POST", "/redeploy", {"release": "never"})
    agent.wait_for("generation.launched", generation=2)
    answer = api.deploy(path="/rollback")
    assert (answer.status, answer.told["result"], answer.told["generation"]) == (200, "rolled_back", 1)
    assert "superseded by" in agent.wait_for("deploy.failed")["reason"]
    assert agent.link.readlink() == Path("releases/a")


def test_a_rollback_after_a_failure_clears_it_everywhere_and_all_answers_are_as_described(api: Caller) -> None:
    def described(path: str, schema: str) -> Any:
        told = api.call("GET", path).told
        for one in told if isinstance(told, list) else [told]:
            Draft202012Validator({"$ref": f"urn:api#/components/schemas/{schema}"}, registry=REGISTRY).validate(one)
        return told

    def failed() -> bool:
        return b"\nrainbowd_last_deploy_failed 1.0\n" in api.call("GET", "/metrics").body

    agent = api.agent
    agent.add_release("bad", up_status=500, output=["no such table"])
    agent.configure(**enabled(api.port), health={"path": "/up", "deadline": 8, "interval": 0.2})
    agent.flip("bad")
    agent.wait_for("generation.launched", generation=2)
    deploying = described("/status", "Status")["deploying"]
    assert (deploying["generation"], Path(deploying["release"]).name) == (2, "bad")
    agent.wait_for("deploy.failed")
    assert failed()
    assert [one["kind"] for one in described("/status", "Status")["warnings"]] == ["other"]
    assert api.deploy(path="/rollback").told["result"] == "rolled_back"
    status, history = described("/status", "Status"), described("/history", "Entry")
    assert (status["deploying"], status["last_deploy"]["result"], status["warnings"]) == (None, "rolled_back", [])
    assert not failed()
    assert [(entry["result"], entry["rollback"]) for entry in history] == [
        ("rolled_back", True),
        ("failed", False),
        ("succeeded", False),
    ]


def test_a_release_that_is_no_sibling_is_refused_and_nothing_is_touched(api: Caller) -> None:
    agent = api.agent
    (agent.directory / "elsewhere").mkdir()
    (agent.directory / "releases" / "link").symlink_to(agent.directory / "elsewhere")
    before = agent.link.lstat()
    for release in TRAVERSALS:
        assert api.deploy({"release": release}).status == 400, release
    assert agent.link.lstat() == before
    assert asked(agent) == ["start"]


def test_requests_by_calls_and_by_files_are_merged_alike(api: Caller) -> None:
    agent = api.agent
    agent.add_release("slow", awaits="../../go")
    first = api.call("POST", "/redeploy", {"release": "slow"}).told["deploy"]
    others = {api.call("POST", "/redeploy").told["deploy"] for _ in range(3)}
    agent.touch()
    agent.wait_for("deploy.requested", trigger="file")
    (agent.directory / "go").touch()
    assert len(others) == 1
    (other,) = others
    assert other != first
    succeeded = agent.wait_for("deploy.succeeded", deploy=other)
    assert succeeded["generation"] == 3
    assert {event["deploy"] for event in agent.events() if event.get("trigger") == "file"} == {other}


def test_events_continue_with_the_next_agent_at_the_same_point(api: Caller) -> None:
    agent = api.agent
    events = api.events()
    api.deploy()
    names = events.until("deploy.succeeded")
    assert names[0] == "deploy.requested"
    assert agent.stop() == 0
    while events.read() is not None:
        pass  # to its end, which is clean
    events.close()
    since = len(agent.events())
    agent.start()
    agent.wait_for("agent.started", since)
    api.until_it_listens()
    again = api.events(events.last_id)
    told = [*again.until("agent.stopped"), *again.until("agent.started")]
    again.close()
    assert told[-1] == "agent.started"
    assert "deploy.succeeded" not in told[: told.index("agent.stopped")]


def test_a_unix_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    with running(tmp_path, api={"enabled": True, "listen": "unix:api.sock"}) as agent:
        path = agent.directory / "api.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        token = (agent.state_dir / "token").read_text().strip()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.sendall(
                b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"
                % token.encode()
            )
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert agent.stop() == 0
        assert not path.exists()


def test_the_token_is_nowhere_in_the_log_or_the_journal(api: Caller) -> None:
    agent = api.agent
    assert api.call("POST", f"/redeploy?token={api.token}", token="").status == 401
    assert api.call("GET", f"/nothing?token={api.token}").status == 404
    assert api.call("POST", "/redeploy", [api.token]).status == 400
    api.deploy()
    token = api.token
    assert agent.stop() == 0
    assert token not in agent.output_file.read_text()
    assert token not in (agent.state_dir / "journal.jsonl").read_text()


def test_a_stop_does_not_wait_for_clients_of_the_api(api: Caller) -> None:
    events = api.events()
    silent = socket.create_connection(("127.0.0.1", api.port))
    begun = socket.create_connection(("127.0.0.1", api.port))
    begun.sendall(b"POST /redeploy HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n")
    assert api.agent.stop(signal.SIGTERM) == 0
    for connection in (events, silent, begun):
        connection.close()


def start(directory: Path, *words: str, code: str = "pass") -> subprocess.CompletedProcess[str]:
    main = f"import sys; {code}; import rainbowd.cli; sys.exit(rainbowd.cli.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", main, "--config", str(directory / "rainbowd.json"), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("word", [[], ["check"]])
def test_an_api_that_is_not_installed_is_refused_with_the_line_to_type(tmp_path: Path, word: list[str]) -> None:
    agent = Agent(tmp_path, **enabled(free_port()))
    agent.add_release("a")
    agent.flip("a")
    ended = start(tmp_path, *word, code="sys.modules['hypercorn'] = None")
    assert ended.returncode == 2
    line_to_type = f": {sys.executable} -m pip install " + " ".join(f"'{package}'" for package in PACKAGES)
    assert any(line.endswith(line_to_type) for line in ended.stderr.splitlines())
    assert not (agent.state_dir / "token").exists()


@pytest.mark.parametrize("word", [["--enable-api"], ["check"]])
def test_an_api_for_the_world_is_refused_without_a_token_file(tmp_path: Path, word: list[str]) -> None:
    agent = Agent(tmp_path, api={"enabled": "check" in word, "listen": "0.0.0.0:7001"})
    agent.add_release("a")
    agent.flip("a")
    ended = start(tmp_path, *word)
    assert ended.returncode == 2
    assert "api.listen: found 0.0.0.0:7001, which other machines can reach" in ended.stderr


def test_an_address_that_is_taken_is_named_by_its_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        agent = Agent(tmp_path, **enabled(taken.getsockname()[1]))
        agent.add_release("a")
        agent.flip("a")
        ended = start(tmp_path)
    assert ended.returncode == 2
    assert "api.listen: cannot listen on 127.0.0.1:" in ended.stderr


def test_an_agent_that_was_upgraded_holds_no_address_while_it_finishes(api: Caller) -> None:
    agent, old = api.agent, pid(api.agent)
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
    connection.request("GET", "/slow?ms=600000")
    agent.wait_until(lambda: {} if agent.status()["generations"][0]["in_flight"] else None, "the request")
    assert agent.upgrade()["event"] == "agent.upgraded"
    for_the_next_agent = f"upgraded-1-{old}"
    agent.wait_until(
        lambda: {} if [Path(one).name for one in listening(old)] == [for_the_next_agent] else None,
        "the old one to listen no more",
    )
    since = agent.restart()
    agent.wait_for("generation.adopted", since)
    connection.close()


def test_an_upgrade_hands_the_api_over_and_no_event_is_missed(api: Caller) -> None:
    agent = api.agent
    events = api.events()
    token = api.token
    assert api.deploy({"release": "b"}).status == 200
    told = events.until("deploy.succeeded")
    assert agent.upgrade()["event"] == "agent.upgraded"
    while (event := events.read()) is not None:  # to its end, which is clean
        told.append(event["event"])
    events.close()
    again = api.events(events.last_id)
    assert api.token == token
    assert api.deploy(path="/rollback").told["release"].endswith("/a")
    told += again.until("deploy.succeeded")
    again.close()
    written = [event["event"] for event in agent.events()]
    first = written.index("deploy.succeeded") + 1  # after the deploy at the start
    assert told == written[first : first + len(told)]
    assert "agent.upgraded" in told
