"""Holds the sizes that CONTRIBUTING states: of files, of functions, and of constructors."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Measure = Callable[[str], Iterator[tuple[str, int]]]

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rainbowd"

FILE_LINES = 300
FUNCTION_LINES = 40
CONSTRUCTOR_ARGUMENTS = 6

LARGE_FILES: set[str] = set()
LARGE_FUNCTIONS: set[str] = {
    "agent/api_backend.py:make_api_backend",
    "cli/start_agent.py:start_agent",
}
LARGE_CONSTRUCTORS: set[str] = set()
"""What is larger than its limit today; a name goes when its place is within it."""


def files(source: str) -> Iterator[tuple[str, int]]:
    """Yield the number of lines."""
    yield "", source.count("\n")


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield the lines of each function, from ``def`` to the last one, with those of its docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f":{node.name}", node.end_lineno - node.lineno + 1


def constructors(source: str) -> Iterator[tuple[str, int]]:
    """Yield the arguments of each ``__init__`` besides self; records of data have none of their own."""
    for node in ast.walk(ast.parse(source)):
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                given = method.args
                assert isinstance(node, ast.ClassDef)
                yield f":{node.name}", len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - 1


def larger_than(limit: int, measure: Measure) -> set[str]:
    return {
        f"{path.relative_to(PACKAGE)}{name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, size in measure(path.read_text())
        if size > limit
    }


@pytest.mark.parametrize(
    ("measure", "limit", "known"),
    [
        (files, FILE_LINES, LARGE_FILES),
        (functions, FUNCTION_LINES, LARGE_FUNCTIONS),
        (constructors, CONSTRUCTOR_ARGUMENTS, LARGE_CONSTRUCTORS),
    ],
    ids=["files", "functions", "constructors"],
)
def test_nothing_is_larger_than_its_limit_except_what_is_known(measure: Measure, limit: int, known: set[str]) -> None:
    found = larger_than(limit, measure)
    assert found == known


@pytest.mark.parametrize(
    ("measure", "source", "size"),
    [
        (files, "a = 1\nb = 2\n", ("", 2)),
        (functions, "async def f():\n    a = 1\n\n    return a\n", (":f", 4)),
        (functions, "class A:\n    def f(self):\n        '''Do it.\n\n        Well.'''\n", (":f", 4)),
        (constructors, "class A:\n    def __init__(self, a, *, b, **c): ...\n", (":A", 2)),
    ],
)
def test_sizes_are_measured_as_contributing_says(measure: Measure, source: str, size: tuple[str, int]) -> None:
    assert list(measure(source)) == [size]


def test_contributing_states_the_limits() -> None:
    words = {6: "six"}
    contributing = re.sub(r"\s+", " ", (ROOT / "CONTRIBUTING.md").read_text())
    for limit, noun in (
        (FILE_LINES, "lines"),
        (FUNCTION_LINES, "lines"),
        (words[CONSTRUCTOR_ARGUMENTS], "arguments besides self"),
    ):
        assert f"at most {limit} {noun}" in contributing
