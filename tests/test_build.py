"""The compiled wheel: which modules it compiles, and what they must not do."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
PATTERNS: list[str] = WHEEL["hooks"]["custom"]["compile"]
COMPILED = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))


def find_waits_in_handlers(source: str) -> list[int]:
    """The lines that wait, or may wait, while an exception is handled."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.AsyncWith, ast.AsyncFor)):
            found.append(node.lineno)
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            found += [
                inner.lineno
                for statement in [*handlers, *node.finalbody]
                for inner in ast.walk(statement)
                if isinstance(inner, (ast.Await, ast.Yield, ast.YieldFrom))
            ]
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_entry_of_the_list_to_compile_names_modules(pattern: str) -> None:
    found = [path.name for path in ROOT.glob(pattern)]
    assert found
    assert "__init__.py" not in found


def test_every_module_of_http1_and_the_roster_is_compiled_but_the_exceptions() -> None:
    modules = {path for package in ("http1", "roster") for path in (ROOT / "rainbowd" / package).glob("[!_]*.py")}
    assert {path.name for path in modules - set(COMPILED)} == {"errors.py"}


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_no_compiled_coroutine_waits_while_it_handles_an_exception(path: Path) -> None:
    """Others would raise its exception in place of their own: see ``rainbowd/proxy/background.py``."""
    assert find_waits_in_handlers(path.read_text()) == []


@pytest.mark.parametrize(
    "body",
    [
        "    try:\n        pass\n    except OSError:\n        await wait()",
        "    try:\n        pass\n    finally:\n        await wait()",
        "    async with wait():\n        pass",
    ],
)
def test_a_wait_in_a_handler_is_found(body: str) -> None:
    assert find_waits_in_handlers(f"async def f():\n{body}\n")
    assert not find_waits_in_handlers(
        "async def f():\n    try:\n        await wait()\n    except OSError:\n        pass\n"
    )
