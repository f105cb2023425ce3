"""Holds the arrows between the packages, and each third party to its one place, by reading imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rule = Callable[[Path], list[str]]

ROOT = Path(__file__).parents[1]
PACKAGE = "rainbowd"

FOR_ALL = {
    "errors",
    "permissions",
    "log",
    "config",
    "address",
    "broadcast",
    "config_paths",
    "json_file",
    "release_link",
    "listeners",
    "tcp_ports",
    "plain_text",
    "timestamp",
}
"""What every part may import."""

ARROWS = {
    "errors": set(),
    "permissions": set(),
    "address": set(),
    "broadcast": set(),
    "json_file": {"errors"},
    "config_paths": {"errors", "json_file"},
    "release_link": {"errors"},
    "release_choice": {"errors", "report"},
    "listeners": {"errors", "address", "tcp_ports"},
    "tcp_ports": {"address"},
    "log": {"permissions", "plain_text", "timestamp"},
    "timestamp": set(),
    "compiled": set(),
    "sd_notify": set(),
    "sighup": set(),
    "prctl": set(),
    "plain_text": set(),
    "config": {"errors", "permissions", "address", "json_file", "config_paths"},
    "http1": FOR_ALL,
    "roster": FOR_ALL,
    "report": FOR_ALL,
    "proxy": FOR_ALL | {"http1", "roster"},
    "deploy": FOR_ALL | {"http1", "roster", "report", "release_choice"},
    "api": FOR_ALL | {"roster", "report", "compiled"},
    "peers": FOR_ALL | {"roster"},
    "upgrade": FOR_ALL | {"roster", "peers", "deploy", "prctl", "sighup"},
    "workers": FOR_ALL | {"roster", "report", "proxy", "deploy", "peers", "prctl"},
    "fleet": FOR_ALL | {"report"},
    "agent": FOR_ALL
    | {"http1", "roster", "report", "proxy", "deploy", "api", "fleet", "upgrade", "workers", "sd_notify", "sighup"},
    "cli": FOR_ALL
    | {"report", "agent", "proxy", "deploy", "roster", "api", "fleet", "upgrade", "prctl", "sighup", "release_choice"}
    | {"compiled"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""The parts that a part may import in addition to itself."""

LIGHT = {
    "__init__.py",
    "__main__.py",
    "errors.py",
    "address.py",
    "json_file.py",
    "config_paths.py",
    "permissions.py",
    "release_link.py",
    "release_choice.py",
    "plain_text.py",
    "timestamp.py",
    "compiled.py",
    "cli/__init__.py",
    "cli/agent_process.py",
    "cli/argument_types.py",
    "cli/health_guess.py",
    "cli/command_parser.py",
    "cli/commands.py",
    "cli/completion.py",
    "cli/deploy.py",
    "cli/disk.py",
    "cli/detect.py",
    "cli/detect_javascript.py",
    "cli/detect_others.py",
    "cli/detect_python.py",
    "cli/detected_app.py",
    "cli/follow.py",
    "cli/history.py",
    "cli/init.py",
    "cli/outcome.py",
    "cli/parser.py",
    "cli/progress_printer.py",
    "cli/source_files.py",
    "cli/recipe.py",
    "cli/recipes.py",
    "cli/other_recipes.py",
    "cli/upgrade.py",
    "cli/deploy_request.py",
    "cli/show.py",
    "cli/agent_files.py",
    "cli/status.py",
    "cli/status_text.py",
    "cli/deploy_step.py",
    "cli/stop.py",
    "cli/no_agent.py",
    "cli/deploy_tracker.py",
    "cli/terminal.py",
    "cli/wait.py",
    "cli/maintenance.py",
    "cli/status_watch.py",
}
"""What ``rainbowd status`` loads: outside of functions these import only each other and ``report``."""
LIGHT_PARTS = {
    "errors",
    "address",
    "json_file",
    "config_paths",
    "release_link",
    "release_choice",
    "plain_text",
    "timestamp",
    "compiled",
    "report",
    "cli",
}

PLACES = {
    "h11": {"api/server.py"},  # Hypercorn's parser
    "httptools": {"http1"},
    "hypercorn": {"api/server.py"},
    "httpx": {"deploy/host/health.py", "deploy/host/httpx_transport.py", "fleet/etcd.py"},
    "outcome": {"proxy"},  # trio's own: what a task that is woken gets
    "prometheus_client": {"api"},
    "pydantic": {"config", "fleet"},
    "pydantic_core": {"config"},
    "rich": {"cli"},
    "starlette": {"api"},
    "trio": {
        "broadcast.py",
        "proxy",
        "deploy",
        "api",
        "fleet",
        "peers",
        "upgrade",
        "workers",
        "agent",
        "sd_notify.py",
        "sighup.py",
        "cli",
        "report/recorder.py",
    },
    "watchfiles": {"deploy/watch/watcher.py"},
}
"""The files and packages that may import each third party."""

OPT_IN = (
    "rainbowd.api",
    "rainbowd.workers",
    "rainbowd.agent.api_backend",
    "rainbowd.fleet",
    "rainbowd.agent.fleet_deploys",
)

HOST = "rainbowd.deploy.host"

PURE = {"http1", "roster"}
"""Neither waits nor asks the machine anything."""
IMPURE = {"asyncio", "os", "random", "select", "socket", "subprocess", "threading", "time", "trio"}


@dataclass(frozen=True)
class Import:
    """One import.

    Attributes:
        file: relative to the package.
        name: dotted, whole: what is imported from a package may be a module of it.
        deferred: inside a function.
        for_types: read by type checkers alone.
    """

    file: Path
    line: int
    name: str
    deferred: bool
    for_types: bool

    @property
    def part(self) -> str:
        """The package, or the module at the top, that imports."""
        return self.file.parts[0].removesuffix(".py")

    @property
    def top(self) -> str:
        """The first word of what is imported."""
        return self.name.partition(".")[0]

    @property
    def of_ours(self) -> str | None:
        """The part of ours that is imported; None where it is another's, or the version."""
        words = self.name.split(".")
        if words[0] != PACKAGE or words[1:] in ([], ["__version__"]):
            return None
        return words[1]

    def within(self, places: set[str]) -> bool:
        """Whether the importing file is one of ``places``, or in one of them."""
        return any(self.file == Path(place) or Path(place) in self.file.parents for place in places)


def imports(package: Path) -> Iterator[Import]:
    """Every import in the source files below ``package``."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        tree = ast.parse(path.read_text(), filename=str(path))
        yield from _imports(tree, file, deferred=False, for_types=False)


def _imports(node: ast.AST, file: Path, *, deferred: bool, for_types: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(file, node.lineno, alias.name, deferred, for_types)
        case ast.ImportFrom(names=names):
            source = _source(node, file)
            for alias in names:
                whole = f"{source}.{alias.name}" if source.partition(".")[0] == PACKAGE else source
                yield Import(file, node.lineno, whole, deferred, for_types)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
            for statement in body:
                yield from _imports(statement, file, deferred=deferred, for_types=True)
            for statement in orelse:
                yield from _imports(statement, file, deferred=deferred, for_types=for_types)
        case _:
            inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from _imports(child, file, deferred=inside, for_types=for_types)


def _source(node: ast.ImportFrom, file: Path) -> str:
    """Return the dotted name after ``from``, also of a relative import."""
    if not node.level:
        return node.module or ""
    package = (PACKAGE, *file.parts[:-1])
    base = package[: len(package) + 1 - node.level]
    return ".".join([*base, node.module] if node.module else base)


def against_the_arrows(package: Path) -> list[str]:
    """Imports of a part by another that may not know it."""
    return [
        f"{package.name}/{one.file}:{one.line}: {one.part} may not import {one.name}"
        for one in imports(package)
        if one.of_ours is not None and one.of_ours not in ARROWS.get(one.part, set()) | {one.part}
    ]


def heavy(package: Path) -> list[str]:
    """Imports that would be loaded by a command that has to be as fast as Python itself."""
    return [
        f"{package.name}/{one.file}:{one.line}: import {one.name} in the function that needs it"
        for one in imports(package)
        if one.file.as_posix() in LIGHT and not (one.deferred or one.for_types) and not _is_light(one)
    ]


def _is_light(one: Import) -> bool:
    if one.top == PACKAGE:
        return one.of_ours is None or one.of_ours in LIGHT_PARTS
    return one.top in sys.stdlib_module_names


def out_of_place(package: Path) -> list[str]:
    """Imports of third parties outside of their places, and of such as have none."""
    return [
        f"{package.name}/{one.file}:{one.line}: {one.name} belongs in {' '.join(sorted(places)) or 'no file'}"
        for one in imports(package)
        if one.top not in sys.stdlib_module_names and one.top != PACKAGE
        for places in [PLACES.get(one.top, set())]
        if not one.within(places)
    ]


def impure(package: Path) -> list[str]:
    """What is not plain computation in the parts that are to be nothing else."""
    found = [
        f"{package.name}/{one.file}:{one.line}: {one.part} may not import {one.name}"
        for one in imports(package)
        if one.part in PURE and one.top in IMPURE and not one.for_types
    ]
    for part in sorted(PURE):
        for path in sorted((package / part).rglob("*.py")):
            nodes = ast.walk(ast.parse(path.read_text()))
            waits = (node.lineno for node in nodes if isinstance(node, ast.AsyncFunctionDef | ast.Await))
            found += [f"{package.name}/{path.relative_to(package)}:{line}: {part} may not wait" for line in waits]
    return found


def circles(package: Path) -> list[str]:
    """Return the files that import each other, directly or through others, also for types alone or in a function."""
    graph: dict[Path, set[Path]] = {}
    for one in imports(package):
        imported = _file(package, one.name)
        if imported not in {None, one.file}:
            graph.setdefault(one.file, set()).add(imported)
    found = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            first, *others = error.args[1][::-1]
            found.append(f"{package.name}/{first}:1: imports itself through {' imports '.join(map(str, others))}")
            for file in others:
                graph[file] = set()
        else:
            return found


def _file(package: Path, name: str) -> Path | None:
    """Return the file that defines an imported name, relative to the package; None for what is not ours."""
    top, *words = name.split(".")
    while words and top == PACKAGE:
        place = package.joinpath(*words)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path.relative_to(package)
        words.pop()
    return None


def enabled_by_import(package: Path) -> list[str]:
    """Imports by which what is opt-in would be loaded where nobody opted in."""
    return [
        f"{package.name}/{one.file}:{one.line}: import {one.name} in the function that enables it"
        for one in imports(package)
        if one.name.startswith(OPT_IN)
        and not one.within(
            {
                "api",
                "agent/api_backend.py",
                "workers",
                "fleet",
                "agent/fleet_deploys.py",
                "cli/fleet",
                "cli/checks/fleet.py",
            }
        )
        and not (one.deferred or one.for_types)
    ]


def past_the_seam(package: Path) -> list[str]:
    """Return imports of ``deploy/host`` by the code that decides, which knows only ``deploy.interfaces.Host``."""
    return [
        f"{package.name}/{one.file}:{one.line}: {one.name} is outside deploy.host"
        for one in imports(package)
        if one.part == "deploy" and one.name.startswith(HOST) and not one.within({"deploy/host"})
    ]


RULES = [against_the_arrows, heavy, out_of_place, impure, circles, enabled_by_import, past_the_seam]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_imports_keep_the_rule(rule: Rule) -> None:
    found = rule(ROOT / PACKAGE)
    assert not found, "\n" + "\n".join(found)


def test_every_part_has_its_arrows() -> None:
    parts = {one.name.removesuffix(".py") for one in (ROOT / PACKAGE).iterdir() if one.suffix == ".py" or one.is_dir()}
    assert parts - {"__pycache__"} <= ARROWS.keys()


@pytest.mark.parametrize(
    ("file", "source", "rule", "message"),
    [
        ("proxy/a.py", "import os\nfrom rainbowd.deploy import watch", against_the_arrows, "proxy/a.py:2"),
        ("proxy/a.py", "from rainbowd import deploy", against_the_arrows, "proxy/a.py:1"),
        ("deploy/a.py", "def f():\n    import rainbowd.proxy.reactor", against_the_arrows, "deploy/a.py:2"),
        ("roster/a.py", "from ..http1 import Request", against_the_arrows, "roster/a.py:1"),
        ("http1/deep/a.py", "from ...roster import Roster", against_the_arrows, "http1/deep/a.py:1"),
        ("cli/status.py", "from rainbowd.config import load", heavy, "cli/status.py:1"),
        ("cli/__init__.py", "try:\n    import trio\nfinally:\n    pass", heavy, "cli/__init__.py:2"),
        ("proxy/a.py", "import pydantic", out_of_place, "proxy/a.py:1"),
        ("deploy/b.py", "async def f():\n    from httpx import Client", out_of_place, "deploy/b.py:2"),
        ("log/a.py", "import unheard_of", out_of_place, "log/a.py:1"),
        ("http1/a.py", "import time", impure, "http1/a.py:1"),
        ("roster/a.py", "async def f() -> None: ...", impure, "roster/a.py:1"),
        ("deploy/a.py", "from rainbowd.deploy.host import host", past_the_seam, "deploy/a.py:1"),
        ("cli/run.py", "import trio\nfrom rainbowd.api.service import Api", enabled_by_import, "cli/run.py:2"),
    ],
)
def test_a_breach_is_named_by_file_and_line(tmp_path: Path, file: str, source: str, rule: Rule, message: str) -> None:
    path = tmp_path / PACKAGE / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (found,) = rule(tmp_path / PACKAGE)
    assert found.startswith(f"{PACKAGE}/{message}: ")


def test_a_circle_of_imports_for_types_and_in_functions_is_found(tmp_path: Path) -> None:
    package = tmp_path / PACKAGE / "cli"
    package.mkdir(parents=True)
    (package / "a.py").write_text("from rainbowd.cli import b")
    (package / "b.py").write_text("if TYPE_CHECKING:\n    from rainbowd.cli.c import C")
    (package / "c.py").write_text("def f():\n    from .a import A")
    (package / "d.py").write_text("from rainbowd.cli.a import A")
    (found,) = circles(tmp_path / PACKAGE)
    assert {f"cli/{name}.py" for name in "abc"} == set(re.findall(r"cli/\w.py", found))


@pytest.mark.parametrize(
    "command", ["status", "history", "deploy", "upgrade", "stop", "wait", "show", "status_watch", "completion"]
)
def test_a_command_that_is_to_be_fast_loads_nothing_heavy(command: str) -> None:
    code = f"import sys, rainbowd.cli.{command}; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not PLACES.keys() & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("module", "third_parties"),
    [
        ("cli.run", {"pydantic", "pydantic_core"}),
        ("cli.start_agent", {"httptools", "httpx", "outcome", "pydantic", "pydantic_core", "trio", "watchfiles"}),
        ("cli.proxy", {"httptools", "outcome", "pydantic", "pydantic_core", "trio"}),
    ],
)
def test_an_agent_listens_and_serves_before_it_loads_large_modules(module: str, third_parties: set[str]) -> None:
    code = f"import sys, rainbowd.{module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert PLACES.keys() & set(loaded.stdout.split()) == third_parties
