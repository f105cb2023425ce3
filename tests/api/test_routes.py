from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.routing import Route

from rainbowd import __version__
from rainbowd.api.page import policy
from rainbowd.api.params import NOTE_BYTES
from rainbowd.api.routes import OPENAPI, make_app
from rainbowd.errors import Declined
from rainbowd.report.journal import NAME, encode
from rainbowd.report.outcome import Outcome
from rainbowd.report.palette import COLOURS
from rainbowd.report.sentences import SENTENCES

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import FakeAgent

DESCRIPTION: dict[str, Any] = json.loads(OPENAPI.read_bytes())
REGISTRY: Registry[Any] = Registry().with_resource("urn:api", Resource.from_contents(DESCRIPTION, DRAFT202012))


def fits(answer: httpx.Response, call: str) -> Any:
    """What an answer tells, once it is seen to be as the description of the call says."""
    method, path = call.split()
    place = ["paths", path, method.lower(), "responses", str(answer.status_code)]
    described: dict[str, Any] = DESCRIPTION["paths"][path][method.lower()]["responses"][str(answer.status_code)]
    if "$ref" in described:
        place = described["$ref"].split("/")[1:]
    media_type = answer.headers["content-type"].partition(";")[0]
    place += ["content", media_type, "schema"]
    told: Any = answer.json() if media_type.endswith("json") else answer.text
    pointer = "/".join(word.replace("/", "~1") for word in place)
    schema = {"$ref": f"urn:api#/{pointer}"}
    Draft202012Validator(schema, registry=REGISTRY).validate(told)
    if answer.status_code >= 400:
        assert (told["status"], media_type) == (answer.status_code, "application/problem+json")
    return told


def test_the_description_is_valid_openapi() -> None:
    validate(DESCRIPTION)


async def test_the_description_is_served_with_the_version(agent: FakeAgent) -> None:
    told = fits(await agent.call("GET", "/openapi.json"), "GET /openapi.json")
    assert told["info"]["version"] == __version__
    assert told["paths"] == DESCRIPTION["paths"]


async def test_every_call_is_described_and_no_other(agent: FakeAgent) -> None:
    routes = [
        route
        for route in make_app(agent.controls(), agent.metrics, agent.load, agent.stop).routes
        if isinstance(route, Route)
    ]
    served = {(route.path, method.lower()) for route in routes for method in route.methods or () if method != "HEAD"}
    assert served == {(path, method) for path, calls in DESCRIPTION["paths"].items() for method in calls}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({}, ("redeploy", "-", "-")),
        ({"content": b"", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, ("redeploy", "-", "-")),
        ({"json": {}}, ("redeploy", "-", "-")),
        ({"json": {"release": "b"}}, ("redeploy", "b", "-")),
        ({"json": {"release": None, "note": "why"}}, ("redeploy", "-", "why")),
        (
            {"content": b'{"note": "x"}', "headers": {"Content-Type": "Application/JSON; charset=utf-8"}},
            ("redeploy", "-", "x"),
        ),
    ],
)
async def test_a_deploy_is_requested(agent: FakeAgent, body: dict[str, Any], asked: tuple[str, ...]) -> None:
    answer = await agent.call("POST", "/redeploy", **body)
    assert (answer.status_code, fits(answer, "POST /redeploy")) == (202, {"deploy": "d1"})
    assert (agent.asked, agent.settled) == ([asked], 1)


async def test_a_rollback_is_requested(agent: FakeAgent) -> None:
    answer = await agent.call("POST", "/rollback", json={"note": "why"})
    assert (answer.status_code, fits(answer, "POST /rollback")) == (202, {"deploy": "d1"})
    assert agent.asked == [("rollback", "why")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"json": {"relaese": "b"}}, 400),
        ({"json": {"release": 5}}, 400),
        ({"json": {"note": "é" * NOTE_BYTES}}, 400),
        ({"json": []}, 400),
        ({"json": "x"}, 400),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b'{"note": "a", "note": "b"}', "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b'{"note": "\\ud800"}', "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[" * 60_000, "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": {"release": "b"}}, 415),
        ({"content": b"{}"}, 415),
    ],
)
async def test_an_invalid_request_is_refused_and_nothing_is_changed(
    agent: FakeAgent, body: dict[str, Any], status: int
) -> None:
    answer = await agent.call("POST", "/redeploy", **body)
    fits(answer, "POST /redeploy")
    assert (answer.status_code, agent.asked) == (status, [])


async def test_a_rollback_takes_no_release(agent: FakeAgent) -> None:
    answer = await agent.call("POST", "/rollback", json={"release": "b"})
    fits(answer, "POST /rollback")
    assert (answer.status_code, agent.asked) == (400, [])


@pytest.mark.parametrize("query", ["wait=yes", "wait=", "wait=1&wait=1", "wiat=1", "token=x"])
async def test_a_query_that_is_not_understood_is_refused(agent: FakeAgent, query: str) -> None:
    answer = await agent.call("POST", f"/redeploy?{query}")
    fits(answer, "POST /redeploy")
    assert (answer.status_code, agent.asked) == (400, [])


@pytest.mark.parametrize("path", ["/redeploy", "/rollback"])
async def test_a_caller_that_waits_gets_the_outcome(agent: FakeAgent, path: str) -> None:
    async def decide() -> None:
        await trio.testing.wait_all_tasks_blocked()
        assert agent.asked
        agent.deploy.decide()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(decide)
        answer = await agent.call("POST", f"{path}?wait=1")
    assert answer.status_code == 200
    assert fits(answer, f"POST {path}") == {
        "deploy": "d1",
        "result": "succeeded",
        "generation": 2,
        "release": "/srv/releases/b",
    }


async def test_a_caller_that_waits_for_a_failing_deploy_gets_the_reason(agent: FakeAgent) -> None:
    agent.deploy.decide(Outcome("failed", None, None, "it exited", ["a line", "the last"]))
    answer = await agent.call("POST", "/redeploy?wait=1")
    told = fits(answer, "POST /redeploy")
    assert answer.status_code == 422
    assert (told["reason"], told["output"]) == ("it exited", ["a line", "the last"])


@pytest.mark.parametrize("status", [400, 409, 503])
async def test_a_declined_request_gets_the_reason(agent: FakeAgent, status: int) -> None:
    agent.refusal = Declined("it cannot be", status)
    answer = await agent.call("POST", "/redeploy")
    told = fits(answer, "POST /redeploy")
    assert (answer.status_code, told["detail"]) == (status, "it cannot be")


async def test_the_status_is_that_of_the_file(agent: FakeAgent) -> None:
    told = fits(await agent.call("GET", "/status"), "GET /status")
    assert told == {"format": 1, **agent.status}
    fits(await agent.call("GET", "/status?x=1"), "GET /status")


async def test_the_history_is_newest_first_and_as_long_as_requested(agent: FakeAgent) -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    assert fits(await agent.call("GET", "/history"), "GET /history") == []
    with (agent.state_dir / NAME).open("wb") as file:
        for number in range(30):
            file.write(encode("deploy.requested", at, deploy=f"d{number}", trigger="api"))
            file.write(encode("deploy.succeeded", at, deploy=f"d{number}", generation=number, release="/r"))
    told = fits(await agent.call("GET", "/history"), "GET /history")
    assert [entry["deploy"] for entry in told] == [f"d{number}" for number in range(29, 9, -1)]
    assert len(fits(await agent.call("GET", "/history?n=1000"), "GET /history")) == 30
    assert len(fits(await agent.call("GET", "/history?n=1"), "GET /history")) == 1


@pytest.mark.parametrize("query", ["n=0", "n=1001", "n=-1", "n=x", "n=", "n=٣", "n=1&n=2", "m=1"])
async def test_an_invalid_number_is_refused(agent: FakeAgent, query: str) -> None:
    answer = await agent.call("GET", f"/history?{query}")
    fits(answer, "GET /history")
    assert answer.status_code == 400


async def test_a_journal_that_cannot_be_read_is_reported(agent: FakeAgent) -> None:
    (agent.state_dir / NAME).symlink_to("/etc/passwd")
    answer = await agent.call("GET", "/history")
    fits(answer, "GET /history")
    assert answer.status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/redeploy", 405, {"POST"}),
        ("PUT", "/rollback", 405, {"POST"}),
        ("POST", "/status", 405, {"GET", "HEAD"}),
        ("DELETE", "/", 405, {"GET", "HEAD"}),
        ("GET", "/status/", 404, set()),
        ("GET", "/docs", 404, set()),
        ("OPTIONS", "/redeploy", 405, {"POST"}),
    ],
)
async def test_other_paths_and_methods_are_problems(
    agent: FakeAgent, method: str, path: str, status: int, allow: set[str]
) -> None:
    answer = await agent.call(method, path)
    told = answer.json()
    assert (answer.status_code, told["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(re.findall(r"\w+", answer.headers.get("allow", ""))) == allow


@pytest.mark.parametrize("path", ["/", "/status", "/nothing"])
async def test_no_answer_is_kept_or_guessed_at_and_none_is_for_other_sites(agent: FakeAgent, path: str) -> None:
    answer = await agent.call("GET", path, headers={"Origin": "https://elsewhere.example"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_the_page_runs_only_its_own_scripts(agent: FakeAgent) -> None:
    answer = await agent.call("GET", "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(rules)
    assert not re.search(rb"""(src|href)=["']?(https?:)?//""", answer.content)


def test_the_policy_knows_scripts_and_styles_by_their_hashes() -> None:
    rules = policy(b"<style>a{}</style><script type='module'>1</script><SCRIPT>\n2</SCRIPT>")
    assert rules.count("'sha256-") == 3
    assert "script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=' " in rules


async def test_the_page_is_one_response_that_loads_nothing_else(agent: FakeAgent) -> None:
    page = (await agent.call("GET", "/")).text
    assert [link for link in re.findall(r'\s(?:src|href)="([^"]*)"', page) if not link.startswith("data:image/")] == []
    assert page.count("<script") == page.count("<style") == 1
    assert "innerHTML" not in page
    assert all(json.dumps(words) in page for words in SENTENCES.values())
    assert all(colour in page for colour in COLOURS)


async def test_the_load_of_the_last_hour_is_returned_after_any_time(agent: FakeAgent) -> None:
    for second in range(3):
        agent.load.take_sample(datetime(2026, 11, 23, 10, 0, second, tzinfo=UTC))
    assert len(fits(await agent.call("GET", "/load"), "GET /load")) == 3
    younger = fits(await agent.call("GET", "/load?after=2026-11-23T10:00:01.000Z"), "GET /load")
    assert [sample["at"] for sample in younger] == ["2026-11-23T10:00:02.000Z"]
    assert (await agent.call("GET", "/load?after=2026-11-23T10:00:02Z")).json() == []
    assert (await agent.call("GET", "/load?after=yesterday")).status_code == 400
