from __future__ import annotations

import re
from typing import Any

import pytest

from rainbowd.report.history import RESULTS
from rainbowd.report.sentences import SENTENCES, WARNINGS, fill, sentence


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {"event": "deploy.requested", "release": "/srv/v1", "by": "ann", "trigger": "file", "note": "why"},
            "v1 requested by ann (file): why",
        ),
        ({"event": "deploy.requested", "release": None, "by": None, "trigger": "api", "note": ""}, "requested (api)"),
        (
            {"event": "generation.retired", "generation": 3, "requests": 0, "killed": True, "left": [5, 6]},
            "generation 3 retired after 0 requests, killed, still running: 5, 6",
        ),
        (
            {"event": "generation.retired", "generation": 3, "requests": 9, "killed": False, "left": []},
            "generation 3 retired after 9 requests",
        ),
        ({"event": "generation.standby", "generation": 3, "seconds": 60.0}, "generation 3 is on standby for 60 s"),
        ({"event": "generation.crashed", "generation": 3, "reason": "[{x}]"}, "generation 3 crashed: [{x}]"),
        (
            {"event": "deploy.failed", "release": "/srv/slow", "reason": "superseded by …", "superseded_by": "/srv/v1"},
            "v1 superseded the deploy of slow",
        ),
        ({"event": "something.new", "generation": 3}, ""),
    ],
)
def test_an_event_is_a_sentence(event: dict[str, Any], words: str) -> None:
    assert sentence(event) == words


@pytest.mark.parametrize("template", [*SENTENCES.values(), *WARNINGS.values()])
def test_a_template_is_well_formed(template: str) -> None:
    assert not re.search(r"[][{}]", re.sub(r"\{\w+\}", "", re.sub(r"\[([^][]*)\]", r"\1", template)))


def test_every_decision_has_its_words() -> None:
    assert RESULTS.keys() <= SENTENCES.keys()


def test_a_warning_names_both_releases() -> None:
    told = fill(WARNINGS["other"], {"wanted": "/srv/b", "release": "/srv/a"})
    assert told == "the release link points to /srv/b, but /srv/a is live"
