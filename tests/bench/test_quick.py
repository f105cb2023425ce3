"""The smoke run: everything starts, is loaded, checked and shown; its figures mean nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.results import from_json
from tests.live.agent import needs

ROOT = Path(__file__).parents[2]


@pytest.mark.live
@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
def test_a_quick_run_measures_all_and_fails_nothing(tmp_path: Path) -> None:
    for program in ("nginx", "wrk", "taskset"):
        needs(program)
    written = ["--json", str(tmp_path / "figures.json"), "--svg", str(tmp_path / "figures.svg")]
    command = [sys.executable, "-m", "bench", "--quick", "--peers", "rainbowd", *written]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    results = from_json((tmp_path / "figures.json").read_text())
    assert {key.partition(".")[0] for key in results.rows} == {
        *("cpu", "rate", "p50", "p99", "workers", "body", "memory", "idle", "beside", "frame")
    }
    assert all(len(values) == 1 for peers in results.values.values() for values in peers.values())
    assert ET.fromstring((tmp_path / "figures.svg").read_text()).tag.endswith("svg")


def test_what_is_unknown_is_refused_before_anything_starts() -> None:
    command = [sys.executable, "-m", "bench", "--peers", "rainbowd,apache"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert "unknown: apache" in outcome.stderr
