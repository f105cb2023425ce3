from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rainbowd.cli import main
from rainbowd.cli.history import HEADER, SHOWN, fit
from rainbowd.report.journal import NAME, Journal, encode
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 23, 10, tzinfo=UTC)


class Site:
    """A config, and a journal in which deploys are told without an agent."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self.config = directory / "rainbowd.json"
        self.config.write_text('{"state_dir": "state"}')
        self.state_dir = directory / "state"
        prepare(self.state_dir)
        self._journal = Journal(self.state_dir / NAME, limit_bytes=limit_bytes)
        self._now = START

    def tell(self, event: str, **fields: object) -> None:
        self._now += timedelta(seconds=0.25)
        self._journal.append(encode(event, self._now, **fields))

    def deploy(self, number: int, how: str = "succeeded", **fields: object) -> None:
        deploy = f"deploy-{number}"
        self.tell("deploy.requested", deploy=deploy, trigger="file", by="ann", note=fields.pop("note", None))
        self.tell(f"deploy.{how}", deploy=deploy, generation=number, release=f"/srv/releases/v{number}", **fields)

    def history(self, *words: str) -> int:
        return main(["history", "--config", str(self.config), *words])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, 1 << 20)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return entries


def test_deploys_are_listed_newest_first_with_the_reasons_of_failures(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deploy(1, note="first")
    site.deploy(2, "failed", reason="it is\x1b[31m bad", output=["a line"])
    assert site.history() == 0
    header, second, reason, first = capsys.readouterr().out.splitlines()
    assert header.split() == ["when", "(UTC)", "deploy", "release", "generation", "result", "seconds", "by", "note"]
    assert second.split()[:2] == ["2026-11-23", "10:00:00"]
    assert second.split()[2:] == ["deploy-2", "v2", "2", "failed", "0.25", "ann", "(file)"]
    assert reason == r"  it is\x1b[31m bad"
    assert first.split()[2:] == ["deploy-1", "v1", "1", "succeeded", "0.25", "ann", "(file)", "first"]


def test_a_rollback_is_shown_as_one_whether_it_took_a_launch_or_not(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deploy(1, rollback=True)
    site.deploy(2, "rolled_back")
    site.deploy(3, "failed", reason="bad", rollback=True)
    site.history()
    out = capsys.readouterr().out
    assert ("rolled back to v1" in out, "rolled back to v2" in out, "rolled back to v3" in out) == (True, True, False)


def test_a_superseded_deploy_is_not_a_failure(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deploy(1, "failed", reason="superseded by /srv/releases/v2")
    site.history()
    assert "superseded" in capsys.readouterr().out.splitlines()[1].split()
    site.history("--json")
    assert told(capsys)[0]["result"] == "failed"


def test_as_json_an_entry_has_the_fields_of_the_contract(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deploy(1, "failed", reason="bad", output=["a line"])
    site.tell("deploy.requested", deploy="x", trigger="symlink", release="/srv/releases/v2")
    assert site.history("--json") == 0
    undecided, failed = told(capsys)
    assert failed == {
        "deploy": "deploy-1",
        "at": "2026-11-23T10:00:00.250Z",
        "trigger": "file",
        "by": "ann",
        "note": None,
        "release": "/srv/releases/v1",
        "generation": 1,
        "result": "failed",
        "reason": "bad",
        "output": ["a line"],
        "seconds": 0.25,
        "rollback": False,
        "superseded_by": None,
    }
    assert (undecided["result"], undecided["seconds"]) == (None, None)


def test_the_requested_number_of_deploys_is_listed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, SHOWN + 6):
        site.deploy(number)
    site.history("--json", "-n", "2")
    assert [entry["generation"] for entry in told(capsys)] == [SHOWN + 5, SHOWN + 4]
    site.history("--json")
    assert len(told(capsys)) == SHOWN + 5
    site.history()
    assert "5 older deploys are not shown" in capsys.readouterr().out.splitlines()[-1]
    site.history("-n", "0")
    assert capsys.readouterr().out == "no deploys recorded\n"


def test_rotated_files_are_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path, 500)
    for number in range(1, 6):
        site.deploy(number)
    assert (site.state_dir / f"{NAME}.2").exists()
    site.history("--json")
    assert [entry["generation"] for entry in told(capsys)] == [5, 4, 3, 2, 1]


def test_garbage_in_the_middle_costs_only_its_own_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deploy(1)
    with (site.state_dir / NAME).open("ab") as file:
        file.write(
            b"\xff\xfe\0garbage\n[1]\n{}\n\n" + b"[" * 100_000 + b'\n{"event": 5}\n{"event": "deploy.requested"}\n'
        )
        file.write(b'{"at": "2026-11-23T10:00:00.0')  # torn by a power cut
    site.deploy(2)
    assert site.history("--json") == 0
    assert [entry["generation"] for entry in told(capsys)] == [2, 1]


def test_without_a_journal_no_deploys_are_recorded(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.history() == 0
    assert capsys.readouterr().out == "no deploys recorded\n"
    assert site.history("--json") == 0
    assert told(capsys) == []


def test_a_journal_that_cannot_be_read_is_named(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    (site.state_dir / NAME).symlink_to("elsewhere")  # what stands for one that belongs to somebody else
    assert site.history() == 1
    assert f"{site.state_dir / NAME}: cannot be read" in capsys.readouterr().err


def test_a_number_is_a_number(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-n", "-1"], ["-n", "many"]):
        with pytest.raises(SystemExit) as ended:
            site.history(*words)
        assert ended.value.code == 2
        assert "invalid number value" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "left_out"), [(None, 0), (92, 0), (91, 1), (60, 4), (10, 4)])
def test_a_narrow_terminal_shows_fewer_columns_and_no_broken_line(width: int | None, left_out: int) -> None:
    row = ["2026-11-23 10:00:00", "1f0e8a4c5b2d", "v1", "1", "succeeded", "0.25", "ann (file)", "note"]
    lines, has_notes = fit([HEADER, row], width)
    kept = [name for name in HEADER if name not in ["note", "generation", "seconds", "by"][:left_out]]
    assert (lines[0].split(), has_notes) == (" ".join(kept).split(), left_out == 0)
    assert width is None or width < 50 or max(map(len, lines)) <= width


def test_a_narrow_terminal_shows_the_name_of_a_release_once() -> None:
    name = "20261123100000-1f0e8a4c5b"
    row = ["2026-11-23 10:00:00", "1f0e8a4c5b2d", name, "1", f"rolled back to {name}", "0.25", "ann (file)", "-"]
    (_, line), _ = fit([HEADER, row], 80)
    assert (len(line) <= 80, line.count(name)) == (True, 1)
