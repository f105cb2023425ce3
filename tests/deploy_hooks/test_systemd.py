"""The shipped units, as systemd reads them.  Nothing is booted."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import ROOT, needs

if TYPE_CHECKING:
    from pathlib import Path

UNITS = ROOT / "deploy-hooks" / "systemd"


@pytest.mark.parametrize(
    "name", ["rainbowd.service", "rainbowd.socket", "rainbowd@shop.service", "rainbowd@shop.socket"]
)
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, name: str) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/rainbowd/bin/rainbowd", "/bin/true")
        (tmp_path / unit.name.replace("@.", "@shop.")).write_text(text)
    command = [needs("systemd-analyze"), "verify", "--man=no", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    about_us = [line for line in done.stderr.splitlines() if "rainbowd" in line]
    assert (done.returncode, about_us) == (0, []), done.stderr


@pytest.mark.parametrize("name", ["rainbowd.service", "rainbowd@.service"])
def test_the_units_are_restricted_as_far_as_an_app_allows(name: str) -> None:
    command = [
        needs("systemd-analyze"),
        "security",
        "--offline=true",
        "--threshold=30",
        "--no-pager",
        str(UNITS / name),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"its score is not below 3: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", ["rainbowd.service", "rainbowd@.service"])
def test_an_app_that_is_killed_for_memory_takes_neither_the_agent_nor_its_files_along(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    assert "OOMPolicy=continue" in lines
    assert "KillMode=process" in lines
    assert [line for line in lines if line.startswith("OOMScoreAdjust=-")]
    assert not [line for line in lines if line.startswith(("PrivateTmp=", "RemoveIPC=", "RuntimeDirectory="))]


def test_the_units_of_one_app_and_of_many_say_the_same() -> None:
    def settings(name: str) -> list[str]:
        lines = (UNITS / name).read_text().splitlines()
        kept = [line for line in lines if line and not line.startswith(("#", "Description="))]
        return [line.replace("@%i", "").replace("%i", "app") for line in kept]

    assert settings("rainbowd.service") == settings("rainbowd@.service")


@pytest.mark.parametrize("name", ["rainbowd.service", "rainbowd@.service"])
def test_the_agent_may_create_control_groups(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    assert "Delegate=yes" in lines
    assert not [line for line in lines if line.startswith("ProtectControlGroups=")]


@pytest.mark.parametrize("name", ["rainbowd.service", "rainbowd@.service"])
def test_an_app_may_write_temporary_files(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    assert "ProtectSystem=strict" in lines, "it makes /tmp and /var/tmp read-only too: systemd.exec(5)"
    writable = [path for line in lines if line.startswith("ReadWritePaths=") for path in line.split("=")[1].split()]
    assert {"/tmp", "/var/tmp"} <= set(writable)
