from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rainbowd import log

if TYPE_CHECKING:
    from tests.log.conftest import Said

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_a_plain_entry_has_time_level_event_and_fields(said: Said) -> None:
    log.configure("info", "auto")
    log.get_logger().info("generation live", generation=3, release="/srv/v2")
    assert re.fullmatch(TIME + " info  generation live generation=3 release=/srv/v2\n", said())


def test_json_is_one_object_a_line(said: Said) -> None:
    log.configure("info", "json")
    log.get_logger().warning("two\nlines", path=Path("/srv"), output=["a", "b"], why=None)
    log.app_line(3, "caf\u00e9 \x1b[31mred\x1b[0m")
    entry, app = (json.loads(line) for line in said().splitlines())
    assert re.fullmatch(TIME, entry.pop("at"))
    assert entry == {
        "level": "warning",
        "event": "two\nlines",
        "path": "/srv",
        "output": ["a", "b"],
        "why": None,
    }
    del app["at"]
    assert app == {"event": "app", "generation": 3, "line": "caf\u00e9 red"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a="b"', r'"a=\"b\""'),
        ("caf\u00e9", "caf\u00e9"),
        ("a\nb", r'"a\nb"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        ("\x9b2J", r'"\x9b2J"'),
        ("\u202e", r'"\u202e"'),
        ("\udc80", r'"\udc80"'),
        (Path("/a b"), '"/a b"'),
        (1.23456, "1.235"),
        (None, "null"),
        (["a", 1], '["a", 1]'),
    ],
)
def test_a_value_is_one_word_without_terminal_escapes(said: Said, value: object, shown: str) -> None:
    log.get_logger().info("event", value=value)
    assert said().partition("value=")[2] == f"{shown}\n"


def test_an_apps_output_and_a_traceback_have_lines_of_their_own(said: Said) -> None:
    log.get_logger().error("deploy failed", output=["one", "two\x1b[2J"], exc_info=ValueError("odd"))
    first, *below = said().splitlines()
    assert first.endswith("error deploy failed")
    assert below == ["    one", r"    two\x1b[2J", "    ValueError: odd"]


def test_a_value_that_cannot_be_printed_does_no_harm(said: Said) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    for form in ("auto", "json"):
        log.configure("info", form)
        log.get_logger().info("event", odd=Odd(), fine=1)
        assert "unprintable" in said()
