"""Members that run the app of ``examples/hello``, in three releases."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.live.agent import Agent

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello" / "releases" / "v2"
BAD = "bad"
"""A release with a file of this name prints its content and exits."""


def use_hello(agent: Agent) -> None:
    """Make an agent that has not started yet, and its releases, run the example."""
    for release in (agent.directory / "releases").iterdir():
        shutil.copytree(EXAMPLE, release, dirs_exist_ok=True)
        app = release / "app.py"
        app.write_text(app.read_text().replace('RELEASE = "v2"', f'RELEASE = "{release.name}"'))
    file = agent.directory / "rainbowd.json"
    config = json.loads(file.read_text())
    config["run"] = f'if test -e {BAD}; then cat {BAD}; exit 3; fi; exec "{sys.executable}" app.py "$PORT"'
    file.write_text(json.dumps(config))


def spoil(agent: Agent, release: str) -> None:
    """Make a release of one member fail."""
    (agent.directory / "releases" / release / BAD).write_text("KeyError: 'STRIPE_KEY'\n")


def mend(agent: Agent, release: str) -> None:
    """Make a release of one member well again."""
    (agent.directory / "releases" / release / BAD).unlink(missing_ok=True)
