"""What ``CONTRIBUTING.md`` says of the tree, against the tree."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGE = ROOT / "rainbowd"


def test_the_map_has_every_package_and_no_other() -> None:
    tree = PAGE.partition("\nrainbowd/\n")[2].partition("\ntests/")[0]
    top = set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
    nested = set(re.findall(r"^    (\w+)/", tree, re.MULTILINE))
    assert top == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert nested == {path.parent.name for path in PACKAGE.glob("*/*/__init__.py")}


def test_every_module_that_the_page_runs_exists() -> None:
    modules = re.findall(r"python -m ([\w.]+)", PAGE)
    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
