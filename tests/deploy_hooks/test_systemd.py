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


def test_the_units_of_one_app_and_of_many_say_the_same() -> None:
    def settings(name: str) -> list[str]:
        lines = (UNITS / name).read_text().splitlines()
        kept = [line for line in lines if line and not line.startswith(("#", "Description="))]
        return [line.replace("@%i", "").replace("%i", "app") for line in kept]

    assert settings("rainbowd.service") == settings("rainbowd@.service")
