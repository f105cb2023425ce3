"""``docs/interface.md`` against the code, both ways."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd import errors
from rainbowd.agent.status_content import build_status
from rainbowd.cli.command_parser import EXIT_STATUS
from rainbowd.config import Config, ProcessSettings
from rainbowd.report import status
from rainbowd.report.history import RESULTS, DeployEntry
from rainbowd.report.journal import KEPT, LIMIT_BYTES
from rainbowd.report.sentences import WARNINGS
from tests.fakes import playing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "interface.md").read_text()
OF_THE_WRITER = {
    "companion.py": {"generation", "release", "process", "instance"},
    "events.py": {"generation", "release"},
    "supervisor.py": {"deploy"},
    "deploy_execution.py": {"deploy"},
    "deploy_log.py": {"deploy"},
}
"""What the methods add by which these files write."""


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def example(title: str, number: int = 0) -> Any:
    return json.loads(re.findall(r"```json\n(.*?)```", section(title), re.DOTALL)[number])


def keys(value: object, place: str = "") -> set[str]:
    """Every key of a JSON value, with its path."""
    if isinstance(value, list):
        return set().union(*(keys(one, place) for one in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    return {f"{place}{name}" for name in value}.union(*(keys(one, f"{place}{name}.") for name, one in value.items()))


@cache
def written() -> list[tuple[str, set[str]]]:
    return list(_written())


def _written() -> Iterator[tuple[str, set[str]]]:
    """Each event that the code writes, with its keys; once for each place where it is written."""
    for path in sorted((ROOT / "rainbowd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="record" | "_record"), args=[first, *_], keywords=keywords):
                    named = {keyword.arg for keyword in keywords if keyword.arg} | OF_THE_WRITER.get(path.name, set())
                    yield from ((name, named) for name in _names(first))


def _names(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.JoinedStr(values=[ast.Constant(value="deploy."), _]):
            return list(RESULTS)
    return []


def documented() -> dict[str, set[str]]:
    return {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("journal.jsonl")}


def test_every_event_that_the_code_writes_is_documented_and_no_other() -> None:
    assert {name for name, _ in written()} == documented().keys()


@pytest.mark.parametrize("event", sorted(documented()))
def test_an_event_has_the_keys_that_are_documented(event: str) -> None:
    found = set().union(*(named for name, named in written() if name == event))
    always = {"reason", "output"} if event == "deploy.failed" else set()  # given by name of a mapping
    assert found | always == documented()[event]


async def test_a_status_has_the_keys_that_are_documented(autojump: MockClock) -> None:
    processes = {"worker": ProcessSettings(run="work")}
    async with playing(config=Config(run="app", health=None, warmup=0, processes=processes)) as scene:
        scene.ask()
        while scene.live is None or scene.supervisor.last_outcome is None:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)
        agent = dict.fromkeys(_agent_keys(), "")
        found = build_status(agent, scene.roster, scene.supervisor.snapshot())
    assert keys({"format": status.FORMAT, **found}) == keys(example("status.json"))


async def test_a_deploy_that_is_under_way_has_the_keys_that_are_documented(autojump: MockClock) -> None:
    async with playing() as scene:
        await trio.sleep(0.5)
        found: Any = build_status({}, scene.roster, scene.supervisor.snapshot())["deploying"]
    assert found.keys() == example("status.json", 1).keys()


def _agent_keys() -> list[str]:
    """Of what the agent says of itself."""
    for node in ast.walk(ast.parse((ROOT / "rainbowd" / "agent" / "status.py").read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(id="agent")], value=ast.Dict(keys=names)):
                return [name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str)]
    raise AssertionError("status.py has no dict of what it is")


def test_every_kind_of_warning_in_the_status_is_documented() -> None:
    table = PAGE.partition("\n### warnings\n")[2].partition("\n## ")[0]
    kinds = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert kinds == WARNINGS.keys() - {"gone"}, "rainbowd status itself adds that warning, not the file"


def test_a_deploy_of_the_history_has_the_keys_that_are_documented() -> None:
    assert example("rainbowd history --json").keys() == DeployEntry.__annotations__.keys()


def test_every_exit_status_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    ours = {0, 4, 130, *(kind.exit_status for kind in kinds if issubclass(kind, errors.RainbowdError))}
    assert {int(row[0]) for row in rows("Exit status")} == ours
    assert {int(number) for number in re.findall(r"\b\d\b", EXIT_STATUS)} == ours - {130}


def test_the_rotation_is_as_documented() -> None:
    text = " ".join(section("journal.jsonl").split())
    assert f"At {LIMIT_BYTES >> 20} MiB" in text
    assert f"and that to `.{KEPT}`" in text
