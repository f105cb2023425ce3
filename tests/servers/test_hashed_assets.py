from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.hashed_assets import ENVIRONMENTS, SITES, Site, is_ready, run
from tests.servers.rows import APPS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.live
@pytest.mark.long
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_a_page_of_the_old_release_finds_its_hashed_files(site: Site, tmp_path: Path) -> None:
    environments = ENVIRONMENTS.expanduser()
    if not is_ready(site, environments):
        pytest.skip(f"python -m tests.servers.hashed_assets installs what {site.name} needs")
    assert run(site, tmp_path, environments) == []


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_both_releases_of_a_site_differ_in_every_hashed_file(site: Site) -> None:
    names = "main.css", "lazy.js"
    files = [file for file in (APPS / site.name).rglob("*") if file.name in names]
    assert sorted(file.name for file in files) == sorted(names)
    assert all("VERSION" in file.read_text() for file in files)
