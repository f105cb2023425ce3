from __future__ import annotations

from dataclasses import asdict

import pytest

from rainbowd.deploy.process import ProcessIdentity
from rainbowd.deploy.process.process_identity import boot_id

IDENTITY = ProcessIdentity(
    pid=4711,
    pgid=4711,
    start_time=123456,
    boot_id="5d1f1b6c-0000-4000-8000-000000000000",
    state_dir="/srv/.rainbowd",
    generation=3,
    release="/srv/releases/v1",
    address="127.0.0.1:20000",
    pidfile="/srv/.rainbowd/generation-3/pid",
)


def test_it_is_read_as_it_was_written() -> None:
    assert ProcessIdentity.from_fields(asdict(IDENTITY)) == IDENTITY


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "4711"},
        {"pid": None},
        {"pid": True},
        {"more": 1},
        {"release": 7},
        {"pid": 0},
        {"pid": -1},
        {"pid": 1 << 40},
    ],
)
def test_other_fields_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not "):
        ProcessIdentity.from_fields(asdict(IDENTITY) | change)


def test_a_boot_has_one_id() -> None:
    assert boot_id() == boot_id() != ""
