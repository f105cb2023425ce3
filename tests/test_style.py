"""The part of CONTRIBUTING's rules about names and words that a script can check."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rainbowd"


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TEXTS = names(".py .js .html .css .json .conf .yml .sh .rake .rb .php .cfg .service .socket") | {""}
"""The suffixes of files with prose."""

FORMER_MODULES = names(
    """
    controls link listen notify parent renewing telling asking finding renew site story access kinds loading values
    control bodies load seam serving calls exits chronicle candidacy life machine files foreign launched left
    listening place successor world gate members owner reaping strays sight succession entry apps writing garbage
    intake reply route stamp renewal incoming meeting program numbers words utils helpers manager
    locations tcp open_api runtime exposure placement agent_identity leases
    site_admission site_commands site_files address_holder
    """
)
"""Names of modules and packages that said nothing, or the opposite of the content."""

FORMER_CLASSES = names(
    """
    Turned Notices Renewing Telling Found Lines Story Hooks Api Streams Load Share Calls Controls Sources
    Stream Log Span Attempt BackOff Asked Deploys Adopted Chronicle Draining Life Surroundings End
    Patience Boot Files RealApp Left Listening Successor Machine Identity Entry Process Ending Strays Memory
    FromNewer World Plan HookEnding Succession Registered Waiting Intake Route Settings Incoming Link Meeting
    Elsewhere Program RenewalFailed Numbers Loaded Locations Decision Place Places Judge Verdicts Verdict
    """
)
FORMER_FUNCTIONS = names(
    """
    turn turn_back turned taken_over signal_at_parents_end heed obey tell say complain hue span prove
    roles is_due take_in hurry judge near_top seldom_collected reply stamp speaker told touched is_passing
    remembered hear listen need_link need_api need_agent need_format refuse_foreign_writers refuse_misplaced
    let_go await_status alive secret_directory read_locations
    """
)

BEHIND = re.compile(
    r"\bbehind (?:nginx|HAProxy|Caddy|Apache|rainbowd|the proxy|an?(?:other)? (?:\w+ )?(?:proxy|server|CDN|NAT))\b"
    r"|\bbehind (?:a|its|the) gate\b"
    r"|\b(?:the|an) app behind it\b"
    r"|\bbehind the (?:release )?link\b"
    r"|\b(?:leav|left)\w*(?: \S+){0,2} behind\b"
    r"|\bwaits? behind\b"
    r"|\bbehind (?:its|the) API\b",
    re.IGNORECASE,
)
"""The uses of "behind" for space: behind a proxy, a gate or an interface, in a queue, and left behind."""

ARCHAIC = ("whoever", "anew", "be it", "so many", "at the most", "any more", "but for", "by then", "beside")
UNNAMED = ("what is live", "what was live", "(?:is|are|was|were) told(?! apart)", "told to stop", "what it says")
"""Phrases that leave out the noun or the act: the live generation, the agent logs, the stop signal."""
SO_MANY_THAT = re.compile(r"\bso many(?: \w+)? that\b", re.IGNORECASE)
QUOTATION = re.compile(r"``(?:(?:GET|POST) /|rainbowd )")
"""An endpoint or a command."""
WORDS_MIN = 5


@cache
def trees() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in paths}


@cache
def texts() -> dict[str, str]:
    """The files of the program and those that users copy, each as one line; ``tests/docs`` has the pages."""
    files = [path for name in ("rainbowd", "deploy-hooks") for path in sorted((ROOT / name).rglob("*"))]
    files = [path for path in files if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts]
    return {str(path.relative_to(ROOT)): re.sub(r"\s*\n\s*(?:#|//|\*)?\s*", " ", path.read_text()) for path in files}


def uses(pattern: str) -> Iterator[tuple[str, str, re.Match[str]]]:
    for name, text in texts().items():
        for found in re.finditer(pattern, text, re.IGNORECASE):
            yield name, text[max(0, found.start() - 50) : found.end() + 30], found


def definitions(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, str]]:
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield f"{module}:{node.lineno}", node.name  # type: ignore[attr-defined]


def test_no_pattern_has_a_possessive_group() -> None:
    """Before 3.11.5, Python lets one end within a repetition that does not match: ``(?:a|%0)++`` matches all of a%."""
    possessive = re.compile(r"[^(]\)[*+?]\+")
    lines = [(module, text) for module in trees() for text in (PACKAGE / module).read_text().splitlines()]
    assert not [f"{module}: {text}" for module, text in lines if possessive.search(text)]


def test_no_module_has_a_name_that_was_given_up() -> None:
    parts = {part for module in trees() for part in Path(module).with_suffix("").parts}
    assert not parts & FORMER_MODULES


def test_no_class_has_a_name_that_was_given_up() -> None:
    assert not [(place, name) for place, name in definitions(ast.ClassDef) if name in FORMER_CLASSES]


def test_no_function_has_a_name_that_was_given_up() -> None:
    functions = definitions((ast.FunctionDef, ast.AsyncFunctionDef))
    assert not [(place, name) for place, name in functions if name in FORMER_FUNCTIONS]


def test_behind_is_used_for_space_and_proxies_only() -> None:
    allowed = {
        (name, found.end())
        for name, text in texts().items()
        for phrase in BEHIND.finditer(text)
        for found in re.compile("behind", re.IGNORECASE).finditer(text, phrase.start(), phrase.end())
    }
    assert not [(name, excerpt) for name, excerpt, found in uses(r"\bbehind\b") if (name, found.end()) not in allowed]


@pytest.mark.parametrize("word", ARCHAIC)
def test_an_archaic_word_is_not_used(word: str) -> None:
    """``beside`` is allowed nowhere: "next to" is the place, "in addition to" the rest."""
    pattern = rf"(?<!\bto )\b{word.replace(' ', ' +')}\b"  # "to be it" is plain English
    assert not [(name, excerpt) for name, excerpt, _ in uses(pattern) if not SO_MANY_THAT.search(excerpt)]


@pytest.mark.parametrize("phrase", UNNAMED)
def test_a_phrase_names_the_noun_and_the_act(phrase: str) -> None:
    assert not [(name, excerpt) for name, excerpt, _ in uses(rf"\b{phrase}\b")]


def test_a_docstring_has_at_least_five_words_or_quotes_an_endpoint_or_a_command() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    short = []
    for module, tree in trees().items():
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            if text is not None and len(text.split()) < WORDS_MIN and not QUOTATION.search(text):
                short.append(f"{module}:{getattr(node, 'lineno', 1)}: {text}")
    assert not short
