from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.address import TcpAddress
from rainbowd.deploy.choice import Choice
from rainbowd.errors import Declined
from rainbowd.roster import Generation, Roster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def choose(tmp_path: Path) -> Callable[..., Choice]:
    for name in ("a", "b"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "current").symlink_to("releases/a")

    def choice(live: str | None = None) -> Choice:
        roster = Roster()
        if live is not None:
            generation = Generation(1, tmp_path / "releases" / live, TcpAddress("127.0.0.1", 1))
            roster.add(generation)
            roster.promote(generation, live_at=0.0)
        return Choice(roster, tmp_path / "current", base=tmp_path, state_dir=tmp_path)

    return choice


def test_a_release_is_a_sibling_of_the_present_one(choose: Callable[..., Choice], tmp_path: Path) -> None:
    assert choose().sibling("b") == tmp_path / "releases" / "b"
    assert choose("b").sibling("releases/a") == tmp_path / "releases" / "a"
    for words in ("none", "elsewhere", "../elsewhere"):
        with pytest.raises(Declined):
            choose().sibling(words)


def test_a_rollback_goes_to_what_is_live_or_to_what_was_before(choose: Callable[..., Choice], tmp_path: Path) -> None:
    assert choose("b").previous() == tmp_path / "releases" / "b"
    with pytest.raises(Declined, match="no other release was live before"):
        choose("a").previous()
    line = '{"event": "generation.live", "release": "%s"}\n'
    journal = tmp_path / "journal.jsonl"
    journal.write_text(line % (tmp_path / "releases" / "b") + line % (tmp_path / "releases" / "a"))
    assert choose("a").previous() == tmp_path / "releases" / "b"
    (tmp_path / "releases" / "b").rmdir()
    with pytest.raises(Declined, match="is gone"):
        choose("a").previous()
