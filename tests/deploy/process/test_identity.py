from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rainbowd.deploy.process import Identity
from rainbowd.deploy.process.identity import boot_id

IDENTITY = Identity(
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


def test_a_record_is_one_line_and_read_as_it_was_written() -> None:
    record = replace(IDENTITY, release="/srv/a\nb\udcff").to_json()
    assert "\n" not in record
    assert Identity.from_json(record) == replace(IDENTITY, release="/srv/a\nb\udcff")


def test_every_torn_record_is_refused() -> None:
    record = IDENTITY.to_json()
    for length in range(len(record)):
        with pytest.raises(ValueError):  # noqa: PT011 - json's own, or ours
            Identity.from_json(record[:length])


@pytest.mark.parametrize("change", [{"pid": "4711"}, {"pid": None}, {"pid": True}, {"more": 1}, {"release": 7}])
def test_a_record_with_other_fields_is_refused(change: dict[str, object]) -> None:
    fields = json.loads(IDENTITY.to_json()) | change
    with pytest.raises(ValueError, match="not the record of a generation"):
        Identity.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["{}", "[]", "7", '"x"', "null"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the record of a generation"):
        Identity.from_json(text)


def test_a_boot_has_one_id() -> None:
    assert boot_id() == boot_id() != ""
