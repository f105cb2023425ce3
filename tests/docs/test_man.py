from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def load_pages() -> Any:
    spec = importlib.util.spec_from_file_location("man_pages", ROOT / "docs" / "man" / "man_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAN = load_pages()


@pytest.mark.parametrize("name", MAN.PAGES)
def test_a_man_page_has_every_section_of_its_source(name: str) -> None:
    page = MAN.man_page(name)
    source = (ROOT / "docs" / MAN.PAGES[name][0]).read_text().splitlines()
    in_code = False
    for line in source:
        in_code ^= line.startswith("```")
        if line.startswith("## ") and not in_code:
            title = MAN._escape(line[3:].replace("`", ""))
            shown = page.replace("\\fB", "").replace("\\fR", "")
            assert f"\n.SH {title if title.startswith('rainbowd') else title.upper()}\n" in shown


def test_a_man_page_says_where_its_links_lead_and_which_keys_are_required() -> None:
    commands, configuration = map(MAN.man_page, MAN.PAGES)
    assert "Upgrades (docs/systemd.md)" in commands
    assert "\\fBlimits\\fR (rainbowd.json(5))" in commands
    assert "\\fBpath\\fR (required)" in configuration
    assert "default: required" not in configuration


@pytest.mark.parametrize("name", MAN.PAGES)
def test_man_shows_a_page_without_a_warning(name: str, tmp_path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    (tmp_path / name).write_text(MAN.man_page(name))
    command = ["groff", "-man", "-Tascii", "-P-cbou", "-ww", str(tmp_path / name)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "NAME\n" in shown.stdout


def test_text_that_looks_like_a_request_is_shown_as_it_is() -> None:
    assert MAN._escape(".rainbowd\n'quoted' a-b\\n") == "\\&.rainbowd\n\\&'quoted' a\\-b\\en"
