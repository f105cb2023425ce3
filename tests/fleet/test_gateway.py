"""The client of etcd against scripted answers, which arrive byte by byte; whole requests are compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import FleetSettings
from rainbowd.fleet.engine import EngineAway, EngineError, EngineRefused, PermissionDenied
from rainbowd.fleet.etcd import Etcd
from tests.fleet.scripted import HEADER, Gateway, asked, b64

if TYPE_CHECKING:
    from tests.fleet.scripted import Answer


async def test_a_snapshot_asks_for_a_prefix_and_reads_what_defaults_leave_out() -> None:
    kvs = [
        {"key": b64("/rainbowd/shop/order"), "create_revision": "3", "mod_revision": "9", "value": b64("{}")},
        {"key": b64("/rainbowd/shop/lock"), "mod_revision": "11"},
    ]
    gateway, found = await asked(lambda etcd: etcd.snapshot(), (200, {"header": HEADER, "kvs": kvs, "count": "2"}))
    assert [(path, body) for path, _, body in gateway.asked] == [
        ("/v3/kv/range", {"key": b64("/rainbowd/shop/"), "range_end": b64("/rainbowd/shop0")})
    ]
    assert found.revision == 42
    assert {key: (entry.value, entry.revision) for key, entry in found.entries.items()} == {
        "order": ("{}", 9),
        "lock": ("", 11),
    }


async def test_an_empty_snapshot_has_no_kvs() -> None:
    _, found = await asked(lambda etcd: etcd.snapshot(), (200, {"header": HEADER}))
    assert found.entries == {}


@pytest.mark.parametrize(("answer", "is_written"), [({"header": HEADER}, False), ({"succeeded": True}, True)])
async def test_a_transaction_is_asked_for_with_all_its_guards(answer: dict[str, Any], is_written: bool) -> None:
    gateway, found = await asked(
        lambda etcd: etcd.commit({"order": 0, "progress": 7}, {"progress": "{}", "history/1": None}), (200, answer)
    )
    assert found is is_written
    assert [(path, body) for path, _, body in gateway.asked] == [
        (
            "/v3/kv/txn",
            {
                "compare": [
                    {"key": b64("/rainbowd/shop/order"), "target": "MOD", "result": "EQUAL", "mod_revision": "0"},
                    {"key": b64("/rainbowd/shop/progress"), "target": "MOD", "result": "EQUAL", "mod_revision": "7"},
                ],
                "success": [
                    {"request_put": {"key": b64("/rainbowd/shop/progress"), "value": b64("{}")}},
                    {"request_delete_range": {"key": b64("/rainbowd/shop/history/1")}},
                ],
            },
        )
    ]


async def test_presence_grants_a_lease_and_then_renews_it() -> None:
    async def act(etcd: Etcd) -> list[bool]:
        return [await etcd.presence("present/m", "v", 0), await etcd.presence("present/m", "v", 5)]

    gateway, found = await asked(
        act, (200, {"ID": "1", "TTL": "15"}), (200, {"succeeded": True}), (200, {"result": {"ID": "1", "TTL": "15"}})
    )
    assert found == [True, True]
    (grant, put, renewal) = gateway.asked
    lease = grant[2]["ID"]
    assert grant[2] == {"ID": lease, "TTL": "15"}
    assert put[2]["success"] == [
        {"request_put": {"key": b64("/rainbowd/shop/present/m"), "value": b64("v"), "lease": lease}}
    ]
    assert (renewal[0], renewal[2]) == ("/v3/lease/keepalive", {"ID": lease})


async def test_a_lease_that_is_gone_is_granted_again() -> None:
    async def act(etcd: Etcd) -> bool:
        etcd._lease = 5
        return await etcd.presence("present/m", "v", 9)

    gateway, found = await asked(
        act, (200, {"result": {"ID": "5"}}), (200, {"ID": "6", "TTL": "15"}), (200, {"succeeded": True})
    )
    assert found is True
    assert [path for path, _, _ in gateway.asked] == ["/v3/lease/keepalive", "/v3/lease/grant", "/v3/kv/txn"]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((403, {"error": "etcdserver: permission denied", "code": 7}), PermissionDenied, "permission denied"),
        ((400, {"code": 3, "message": "etcdserver: bad"}), EngineRefused, "etcdserver: bad"),
        ((400, "CommonName of client sending a request"), EngineRefused, "CommonName"),
        ((503, {"code": 14, "message": "no leader"}), EngineAway, "no leader"),
        ((504, {"code": 4, "message": "timed out"}), EngineAway, "timed out"),
        ((500, {"error": "deadline", "code": 4}), EngineAway, "deadline"),
        ((200, "not JSON"), EngineError, "expected an answer of etcd"),
        (None, EngineAway, "disconnected"),
    ],
)
async def test_an_error_is_recognised_by_its_code_whatever_the_status(
    answer: Answer | None, kind: type[Exception], message: str
) -> None:
    gateway = Gateway(answer, answer, answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway.serve)
        settings = FleetSettings.model_validate({"name": "shop", "endpoints": (gateway.url,)})
        async with Etcd(settings) as etcd:
            with pytest.raises(kind, match=message):
                await etcd.snapshot()
        nursery.cancel_scope.cancel()


async def test_an_expired_token_is_replaced_once(tmp_path: Any) -> None:
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    expired = (401, {"error": "etcdserver: invalid auth token", "code": 16})
    credentials = {"user": "shop-agent", "password_file": tmp_path / "password"}
    gateway, found = await asked(
        lambda etcd: etcd.snapshot(),
        (200, {"token": "one.1"}),
        expired,
        (200, {"token": "two.2"}),
        (200, {"header": HEADER}),
        **credentials,
    )
    assert found.revision == 42
    assert gateway.asked[0][2] == {"name": "shop-agent", "password": "secret"}
    tokens = [fields.get("authorization") for _, fields, _ in gateway.asked]
    assert tokens == [None, "one.1", None, "two.2"], "a token has no Bearer before it"
    _, found = await asked(
        lambda etcd: etcd.snapshot(), (200, {"token": "1"}), expired, (200, {"token": "2"}), expired, **credentials
    )
    assert isinstance(found, EngineRefused)


@pytest.mark.parametrize(
    ("lines", "is_notified"),
    [
        (
            [
                {"result": {"created": True}},
                {"result": {"events": [{"kv": {"key": b64("/rainbowd/shop/order")}}]}},
                {"result": {"canceled": True}},
            ],
            True,
        ),
        ([{"result": {"created": True, "canceled": True, "cancel_reason": "permission denied"}}], False),
        ([{"result": {"created": True}}, {"result": {"canceled": True, "compact_revision": "8"}}], False),
        ([{"error": {"grpc_code": 14, "message": "no leader"}}], False),
        ([{"error": {"code": 14, "message": "no leader"}}], False),
    ],
)
async def test_a_watch_ends_when_it_was_canceled_even_if_the_stream_goes_on(
    lines: list[dict[str, Any]], is_notified: bool
) -> None:
    notified: list[str] = []
    text = "".join(json.dumps(line) + "\n" for line in lines)
    with trio.fail_after(30):
        gateway, _ = await asked(lambda etcd: etcd.wake(41, notified.extend), (200, text))
    assert notified == (["order"] if is_notified else [])
    path, fields, body = gateway.asked[0]
    assert (path, fields["grpc-metadata-hasleader"]) == ("/v3/watch", "true")
    assert body == {
        "create_request": {
            "key": b64("/rainbowd/shop/"),
            "range_end": b64("/rainbowd/shop0"),
            "start_revision": "42",
        }
    }
