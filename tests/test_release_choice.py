from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.errors import RainbowdError, UsageError
from rainbowd.release_choice import find_release, find_sibling, rollback_target

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


def test_a_bare_name_is_a_sibling_of_the_present_release(site: Path) -> None:
    present = site / "releases" / "a"
    assert find_release("b", site, present) == site / "releases" / "b"
    assert find_release("elsewhere", site, present) == site / "elsewhere"
    assert find_release("releases/b", site, None) == site / "releases" / "b"
    assert find_release(str(site / "elsewhere"), site, present) == site / "elsewhere"


@pytest.mark.parametrize("words", ["c", "", "b\0", "releases/c", "current/app"])
def test_a_missing_release_is_refused(site: Path, words: str) -> None:
    with pytest.raises(UsageError):
        find_release(words, site, site / "releases" / "a")


def test_a_missing_release_is_refused_with_a_list_of_the_existing_ones(site: Path) -> None:
    with pytest.raises(UsageError, match=r"no such release: c: found no directory .*/c, nor .*/c; there are \w, \w$"):
        find_release("c", site, site / "releases" / "a")
    with pytest.raises(UsageError, match=r"found no directory [^;]*$"):
        find_release("c", site, None)
    for number in range(10):
        (site / "releases" / str(number)).mkdir()
    with pytest.raises(UsageError, match=r"and 7 more$"):
        find_release("c", site, site / "releases" / "a")


def test_the_name_of_a_first_release_is_refused_with_the_directory_that_was_meant(site: Path) -> None:
    with pytest.raises(UsageError, match=r"found no directory .*; did you mean releases/a\?$"):
        find_release("a", site, None, site / "current")
    with pytest.raises(UsageError, match=r"; did you mean ../releases/a\?$"):
        find_release("a", site / "elsewhere", None, site / "current")
    with pytest.raises(UsageError, match=r"found no directory [^;]*$"):
        find_release("c", site, None, site / "current")


def test_the_api_takes_only_siblings_of_the_present_release(site: Path) -> None:
    a, b = site / "releases" / "a", site / "releases" / "b"
    assert find_sibling("b", site, a) == b
    assert find_sibling("releases/a", site, b) == a
    for name in ("none", "elsewhere", "../elsewhere"):
        with pytest.raises(UsageError):
            find_sibling(name, site, a)


def test_a_rollback_goes_to_the_live_release_if_the_link_points_elsewhere(site: Path) -> None:
    a, b = site / "releases" / "a", site / "releases" / "b"
    assert rollback_target(live=b, linked=a, state_dir=site) == b
    assert rollback_target(live=b, linked=None, state_dir=site) == b


@pytest.mark.parametrize("is_live", [True, False])
def test_a_rollback_goes_to_the_release_that_was_live_before(site: Path, is_live: bool) -> None:
    a, b = site / "releases" / "a", site / "releases" / "b"
    live = a if is_live else None
    with pytest.raises(RainbowdError, match="cannot roll back: no other release was live before"):
        rollback_target(live, a, site)
    line = '{"event": "generation.live", "release": "%s"}\n'
    (site / "journal.jsonl").write_text(line % b + line % a)
    assert rollback_target(live, a, site) == b
    b.rmdir()
    with pytest.raises(UsageError, match=r"no longer exists: .*/b"):
        rollback_target(live, a, site)
