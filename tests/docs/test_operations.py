"""``docs/operations.md`` against the code: each message exists, and each that asks for something is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
MESSAGES = (
    "Status and warnings",
    "Reasons for a failed deploy",
    "Log messages",
    "HTTP errors from rainbowd",
    "Start errors",
)
"""The sections whose tables begin with messages."""
FAILURES = {"CommandNotFound", "DeployFailed", "PortTaken", "UpgradeFailed", "nothing_live"}
NAMED_BY_ALL = "bug: "
LEAST = 7
"""Letters without which a message is too vague to be known by."""


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def told() -> list[str]:
    """Every message of the page."""
    cells = [line.split("|")[1] for title in MESSAGES for line in section(title).splitlines() if line.startswith("|")]
    return [message for cell in cells for message in re.findall("`(.+?)`", cell)]


def template(node: ast.expr) -> str:
    """A text of the code, with … for what differs."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return re.sub("…+", "…", "".join(template(part) for part in parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return re.sub("…+", "…", template(left) + template(right))
    return "…"


@cache
def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in sorted((ROOT / "rainbowd").rglob("*.py"))]


@cache
def texts() -> set[str]:
    """Every text of the code."""
    found = {template(node) for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.expr)}
    return {text for text in found if len(re.sub(r"\W", "", text)) >= LEAST or re.fullmatch("[a-z]+", text)}


def asking() -> set[str]:
    """What the code says when something is not as it should be."""
    calls = [node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    found = set()
    for call in calls:
        match call:
            case ast.Call(func=ast.Attribute(attr="warning" | "error"), args=[text]):
                found.add(template(text))
            case ast.Call(func=ast.Name(id=name), args=[text, *_]) if name in FAILURES:
                found.add(template(text))
            case ast.Call(func=ast.Name(id="Refusal"), args=[ast.Constant(value=int(status)), text]) if status >= 500:
                found.add(template(text))
    return {text for text in found - {"…", "hypercorn"} if not text.startswith(NAMED_BY_ALL)}


@cache
def pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("…"))))


def is_same(one: str, other: str) -> bool:
    """Whether one is the other with what differs filled in."""
    return bool(pattern(one).fullmatch(other) or pattern(other).fullmatch(one))


def test_both_sides_of_the_comparison_have_messages() -> None:
    assert len(told()) > 60
    assert len(asking()) > 40


@pytest.mark.parametrize("message", sorted(set(told())))
def test_a_message_of_the_page_is_one_of_the_code(message: str) -> None:
    assert any(is_same(message, text) for text in texts())


@pytest.mark.parametrize("message", sorted(asking()))
def test_every_message_that_needs_attention_is_on_the_page(message: str) -> None:
    assert any(is_same(message, known) for known in told())
