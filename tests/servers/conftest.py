from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.environments import Missing


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


def do_without(problem: Missing) -> NoReturn:
    """Skip; on CI it is a failure."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(problem))
