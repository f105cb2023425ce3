"""``docs/commands.md`` and ``--help`` against the command line itself."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from rainbowd.cli.parser import make_parser

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
PARSER = make_parser()
(COMMANDS,) = (action.choices for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
COMMON = {"-h", "--help", "--version", "--config"}


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a command, without those that all commands have."""
    return {word for action in parser._actions for word in action.option_strings} - COMMON


def documented() -> dict[str, set[str]]:
    """Return the options of each command, by the table; those of the agent itself under the empty name."""
    rows = [
        line.replace("\\|", "/").strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `rainbowd")
    ]
    found = {}
    for command, meaning in rows:
        name = re.match(r"rainbowd ?([a-z]*)", command.strip(" `"))
        assert name
        words = re.findall(r"`(-[-a-z]*)", meaning) + re.findall(r"(--[a-z]+) ADDRESS`", command)
        found[name[1]] = set(words) - COMMON
    return found


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_table_has_every_command_with_its_options(name: str) -> None:
    parser = COMMANDS[name] if name else PARSER
    found = documented()
    assert found[name] == options(parser)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"help"}))
def test_every_command_has_a_section_with_its_options_and_an_example(name: str) -> None:
    section = PAGE.partition(f"\n## rainbowd {name}\n")[2].partition("\n## ")[0]
    missing = {option for option in options(COMMANDS[name]) if option not in section}
    assert missing == set()
    assert f"rainbowd {name}" in section


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_says_what_it_does_and_what_each_option_is(name: str) -> None:
    parser = COMMANDS[name]
    assert parser.description
    assert parser.epilog
    assert [action.dest for action in parser._actions if not action.help and action.dest != "shell"] == []
