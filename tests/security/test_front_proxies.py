"""Which fields of a client pass the shipped configurations of front proxies: tried with the real servers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.accounts import needs_root
from tests.live.agent import running
from tests.live.test_front_proxy import FORWARDED, FRONTS, OTHERS, Front, ask, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as usual": str,
    "in lower case": str.lower,
    "with underscores": lambda name: name.replace("-", "_"),
    "with dots": lambda name: name.replace("-", "."),
    "with both": lambda name: name.replace("-", ".", 1).replace("-", "_"),
}


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.program)
def test_no_forwarded_field_of_a_client_reaches_the_app_through_a_front_proxy(
    tmp_path: Path, front: Front, record_property: Callable[[str, object], None]
) -> None:
    """A client sends every known forwarded field, also with dots and underscores, to a shipped configuration."""
    names = [f"X-Forwarded-{name}" for name in FORWARDED] + OTHERS
    with running(tmp_path) as agent, serving(front, tmp_path / "front", agent.port) as port:
        for spelling, spell in SPELLINGS.items():
            lies = [f"{spell(name)}: 6.6.6.6" for name in names]
            fields = json.loads(asyncio.run(ask(port, "/", lies)).body)["fields"]
            assert [name for name, value in fields.items() if "6.6.6.6" in value] == [], spelling
        assert fields["x-forwarded-for"].split(",")[0] == "127.0.0.1"
    record_property("got", f"none of {len(names)} fields in {len(SPELLINGS)} spellings reached the app")
