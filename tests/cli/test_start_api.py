from __future__ import annotations

import tomllib
from pathlib import Path

from rainbowd.cli.start_api import PACKAGES

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_packages_to_install_have_the_bounds_of_the_extra_and_hypercorn_an_upper_one() -> None:
    extra = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["api"]
    assert set(PACKAGES) <= set(extra)
    (hypercorn,) = (package for package in PACKAGES if package.startswith("hypercorn"))
    assert ",<" in hypercorn
