"""What the README and ``--help`` say of the commands, against the command line itself."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from rainbowd.cli.parser import make_parser

README = (Path(__file__).parents[2] / "README.md").read_text()
PARSER = make_parser()
(COMMANDS,) = (action.choices for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
OF_ALL = {"-h", "--help", "--version", "--config"}
IN_PLACE_OF_THE_SAME = {"rollback": "deploy"}
"""Commands that are told as working like another."""


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings} - OF_ALL


def told() -> dict[str, set[str]]:
    """The options of each command, by the README's table; those of none under the empty name."""
    section = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `rainbowd")]
    found = {}
    for command, meaning in rows:
        name = re.match(r"rainbowd ?([a-z]*)", command.strip(" `"))
        assert name
        words = re.findall(r"`(-[-a-z]*)", meaning) + re.findall(r"(--[a-z]+) ADDRESS`", command)
        found[name[1]] = set(words) - OF_ALL
    return found


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_readme_has_every_command_with_its_options(name: str) -> None:
    parser = COMMANDS[name] if name else PARSER
    like = IN_PLACE_OF_THE_SAME.get(name)
    untold = told()[like] - told()[name] if like else set()
    assert told()[name] == options(parser) - untold


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_says_what_it_does_and_what_each_option_is(name: str) -> None:
    parser = COMMANDS[name]
    assert parser.description
    assert parser.epilog
    assert [action.dest for action in parser._actions if not action.help and action.dest != "shell"] == []
