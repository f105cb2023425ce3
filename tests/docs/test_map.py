"""The maps of the code, in CONTRIBUTING.md and docs/how-it-works.md, against the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rainbowd"
FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")
NOT_ON_THE_WAY = {f"deploy/{name}.py" for name in ("__init__", "cancellation", "rollout_part", "warnings")}
PAGES = ["CONTRIBUTING.md", "docs/how-it-works.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_map_names_exists(page: str) -> None:
    named = FILE.findall((ROOT / page).read_text())
    assert named
    assert not [name for name in named if not (ROOT / name).exists() and not (PACKAGE / name).exists()]


def test_the_walk_of_a_request_names_the_files_that_every_request_visits() -> None:
    walk = (ROOT / "docs" / "how-it-works.md").read_text().partition("### A request in the order of the files")[2]
    named = set(FILE.findall(walk.partition("\n## ")[0]))
    assert {"proxy/connection.py", "proxy/exchange.py", "proxy/claim.py", "roster/roster.py"} <= named


def test_the_walk_of_a_deploy_names_every_room_and_most_of_the_modules_on_its_way() -> None:
    walk = (ROOT / "docs" / "how-it-works.md").read_text().partition("### A deploy in the order of the files")[2]
    named = set(FILE.findall(walk.partition("\n## ")[0]))
    rooms = {path.parent.name for path in (PACKAGE / "deploy").glob("*/__init__.py")}
    assert rooms == {name.split("/")[1] for name in named if name.count("/") == 2 and name.startswith("deploy/")}
    on_the_way = {f"deploy/deploys/{path.name}" for path in (PACKAGE / "deploy" / "deploys").glob("*.py")}
    assert on_the_way - named <= {"deploy/deploys/__init__.py", "deploy/deploys/first_launch.py"}
    assert {f"deploy/{path.name}" for path in (PACKAGE / "deploy").glob("*.py")} - named <= NOT_ON_THE_WAY


def test_every_module_of_the_proxy_has_a_test_file_of_its_name() -> None:
    modules = {path.stem for path in (PACKAGE / "proxy").glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "proxy").glob("test_*.py")}
    assert modules <= tests
