"""Odd documents and answers: what an agent's password, the endpoint of a stranger or a damaged store can do."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.cli.fleet.rollout_text import headline
from rainbowd.cli.terminal import escape_control
from rainbowd.errors import UsageError
from rainbowd.fleet import etcd as client
from rainbowd.fleet import orders
from rainbowd.fleet.documents import parse, parse_history
from rainbowd.fleet.engine import EngineError, Snapshot, StoredValue
from rainbowd.fleet.models import Lock, Order, Past, Phase, Presence, Progress, State, Turn, UnreadableDocument
from rainbowd.fleet.orders import Author, Policy
from tests.fleet.scripted import HEADER, asked, b64

if TYPE_CHECKING:
    from rainbowd.fleet.etcd import Etcd

ANN = Author("ann@ci", None, "2026-11-30T10:00:00.000Z")
POLICY = Policy("1,100%", 1, 10, "rollback", 0)
ODD_NAMES = ["../web1", "a b", "\x1b[2J", "x" * 200, "", "a/b", "w\u0000"]


def order(**changes: Any) -> Order:
    usual: dict[str, Any] = {"id": 7, "request": "r", "release": "v2", "previous": "v1", "by": "bob", "at": ANN.at}
    return Order(**{**usual, "waves": (("a",),), **changes})


def snapshot(**values: str) -> Snapshot:
    return Snapshot(9, {key.replace("__", "/"): StoredValue(value, 9) for key, value in values.items()})


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_key_that_is_no_name_of_a_member_is_no_member(name: str) -> None:
    present = Presence(machine="m", version="1").encode()
    entries = {f"present/{one}": StoredValue(present, 1) for one in ("web1", name)}
    documents = parse(Snapshot(1, entries))
    assert documents.present.keys() == {"web1"}
    assert orders.new_order(documents, "r", "v2", POLICY, ANN).members == ("web1",)


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        ('"id":7', f'"id":{"9" * 4000}'),
        ('"id":7', '"id":100000000'),
        ('"id":7', '"id":1e400'),
        ('"id":7', '"id":0'),
        ('"bake":0.0', '"bake":1e999'),
        ('"bake":0.0', '"bake":NaN'),
        ('"bake":0.0', '"bake":-1'),
        ('"waves":[["a"]]', '"waves":[]'),
        ('"waves":[["a"]]', '"waves":[["../a"]]'),
        ('"waves":[["a"]]', f'"waves":{"[" * 10_000}'),
        ('"by":"bob"', f'"by":"{"b" * 2000}"'),
        ('"by":"bob"', '"by":"\\ud800"'),
        ('"release":"v2"', '"release":".."'),
        ('"release":"v2"', '"release":"v2/../../etc"'),
        ('"release":"v2"', '"release":"v2\\u0000"'),
        ('"release":"v2"', f'"release":"{"v" * 129}"'),
        ('"previous":"v1"', '"previous":"../v1"'),
        ('"past":[]', '"past":["/etc"]'),
        ('"past":[]', f'"past":{json.dumps(["v1"] * 11)}'),
    ],
)
def test_an_order_with_an_odd_value_is_not_carried_out(found: str, changed: str) -> None:
    text = order().encode()
    assert found in text
    with pytest.raises(UnreadableDocument):
        parse(snapshot(order=text.replace(found, changed)))


@pytest.mark.parametrize("wave", [1, 99, 10**30])
def test_a_progress_past_the_last_wave_is_not_followed(wave: int) -> None:
    progress = Progress(order=7, phase=Phase.BAKING, wave=wave, members={"a": Turn(state=State.LIVE)})
    with pytest.raises(UnreadableDocument, match=r"progress: wave: found .*; expected less than 1"):
        parse(snapshot(order=order().encode(), progress=progress.encode()))
    past = Past(order=order(), progress=progress)
    assert parse_history(snapshot(history__00000007=past.encode())) == []


def test_a_turn_whose_request_is_no_name_is_not_taken() -> None:
    turn = Turn(state=State.CLAIMED, deploy="web1-1")
    text = Progress(order=7, phase=Phase.ROLLING, members={"a": turn}).encode()
    with pytest.raises(UnreadableDocument, match="deploy"):
        parse(snapshot(progress=text.replace("web1-1", "\\u001b[2J")))


def test_no_member_chooses_the_release_of_a_rollback() -> None:
    """The history can be written with an agent's password; only what deployers have ordered is gone back to."""
    forged = Past(order=order(id=6, release="evil", previous="evil"), progress=Progress(order=6, phase=Phase.SUCCEEDED))
    found = parse(
        snapshot(
            order=order(past=("v0",)).encode(),
            progress=Progress(order=7, phase=Phase.SUCCEEDED).encode(),
            present__a=Presence(machine="m", version="1").encode(),
            history__00000006=forged.encode(),
        )
    )
    assert orders.past_releases(found) == ("v1", "v0")
    assert orders.rollback_order(found, "r", ANN).release == "v1"


def test_no_member_chooses_the_release_of_a_first_order() -> None:
    found = parse(snapshot(present__a=Presence(machine="m", version="1").encode(), members__a='{"release": "evil"}'))
    with pytest.raises(UsageError, match="name one"):
        orders.new_order(found, "r", None, POLICY, ANN)


def test_orders_remember_the_releases_before_them() -> None:
    """So a rollback after a restart, or after a failure, goes back to the release that was live before."""
    present = Presence(machine="m", version="1").encode()
    made: Order | None = None
    rolled_back = {"v3"}
    found = parse(snapshot(present__a=present))
    for release in ("v1", "v2", "v3", "v4", None):
        phase = Phase.ROLLED_BACK if release in rolled_back else Phase.SUCCEEDED
        made = orders.new_order(found, "r", release, POLICY, ANN)
        progress = Progress(order=made.id, phase=phase)
        found = parse(snapshot(order=made.encode(), progress=progress.encode(), present__a=present))
    assert made is not None
    assert (made.release, made.previous, made.past) == ("v4", "v4", ("v2", "v1"))
    back = orders.rollback_order(found, "r", ANN)
    assert (back.release, back.previous, back.past) == ("v2", "v4", ("v2", "v1"))


def test_words_that_do_not_fit_are_refused_without_a_traceback() -> None:
    found = parse(snapshot(present__a=Presence(machine="m", version="1").encode()))
    for policy, author, key in (
        (POLICY, Author("ann", "x" * 1001, ""), "note"),
        (Policy("1", 1, 100_000, "halt", 0), ANN, "bake"),
    ):
        with pytest.raises(UsageError, match=f"^{key}: found"):
            orders.new_order(found, "r", "v2", policy, author)
    with pytest.raises(UsageError, match=r"^note: found"):
        orders.lock(found, Author("ann", "x" * 1001, ""))
    last = parse(snapshot(order=order(id=99_999_999).encode(), present__a=Presence(machine="m", version="1").encode()))
    with pytest.raises(orders.Refused):
        orders.new_order(last, "r", "v2", POLICY, ANN)


def test_a_text_of_others_is_shown_without_its_control_sequences() -> None:
    evil = "\x1b[2J\x1b]0;mine\x07\r\n"
    found = parse(snapshot(lock=Lock(by=evil, note=evil, at=evil).encode(), order=order(by=evil).encode()))
    assert found.order is not None
    with pytest.raises(orders.UnderWay) as refusal:
        orders.check_free(found)
    for line in (escape_control(refusal.value), escape_control(headline(found.order, found))):
        assert line.isprintable()
        assert "mine" in line


# --- answers ---------------------------------------------------------------------------------------------------------


KV = {"key": b64("/rainbowd/shop/order"), "mod_revision": "9"}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"header": {}},
        {"header": {"revision": "x"}},
        {"header": {"revision": "9" * 5000}},
        {"header": HEADER, "kvs": 5},
        {"header": HEADER, "kvs": [5]},
        {"header": HEADER, "kvs": [{}]},
        {"header": HEADER, "kvs": [{**KV, "key": "*"}]},
        {"header": HEADER, "kvs": [{**KV, "value": 5}]},
        {"header": HEADER, "kvs": [{**KV, "mod_revision": None}]},
        {"header": "x", "kvs": []},
        "[" * 20_000,
        "[]",
        '"' + "x" * 100,
    ],
)
async def test_an_answer_that_is_not_etcds_is_an_error_of_the_engine(answer: object) -> None:
    _, found = await asked(lambda etcd: etcd.snapshot(), (200, answer))
    assert isinstance(found, EngineError)
    assert len(str(found)) < 300


@pytest.mark.parametrize(
    "line",
    [
        "[" * 20_000,
        "5",
        '{"result": 5}',
        '{"result": {"events": 5}}',
        '{"result": {"events": [5]}}',
        '{"result": {"events": [{"kv": {"key": 5}}]}}',
        '{"result": {"events": [{"kv": {"key": "*"}}]}}',
    ],
)
async def test_a_watch_that_is_not_etcds_ends(line: str) -> None:
    notified: list[str] = []
    await asked(lambda etcd: etcd.wake(1, notified.extend), (200, f"{line}\n"))
    assert notified == []


async def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_BYTES", 3000)
    kvs = [{**KV, "value": base64.b64encode(b"x" * 5000).decode()}]
    _, found = await asked(lambda etcd: etcd.snapshot(), (200, {"header": HEADER, "kvs": kvs}))
    assert isinstance(found, EngineError)
    assert "more than" in str(found)
    await asked(lambda etcd: etcd.wake(1, lambda _: None), (200, "x" * 5000))


async def test_an_answer_is_not_compressed() -> None:
    gateway, _ = await asked(lambda etcd: etcd.snapshot(), (200, {"header": HEADER}))
    assert gateway.asked[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int, tmp_path: Any) -> None:
    """A node that a stranger runs could send the password and the token elsewhere."""
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o600)
    gateway, found = await asked(
        lambda etcd: etcd.snapshot(),
        (status, {"moved": True}),
        headers="Location: /elsewhere\r\n",
        user="shop-agent",
        password_file=tmp_path / "password",
    )
    assert isinstance(found, EngineError)
    assert "s3cret" not in str(found)
    assert [path for path, _, _ in gateway.asked] == ["/v3/auth/authenticate"]


async def test_no_proxy_of_the_environment_gets_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _, found = await asked(lambda etcd: etcd.snapshot(), (200, {"header": HEADER}))
    assert found.revision == 42


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 30 Nov 2026 25:61:00 GMT"])
async def test_the_check_of_a_node_survives_an_odd_date(date: str) -> None:
    async def act(etcd: Etcd) -> Any:
        return await etcd.inspect(etcd._endpoints[0])

    _, found = await asked(act, (200, {"etcdserver": "3.5.16" + "\x1b" * 100}), headers=f"Date: {date}\r\n")
    assert found.skew_seconds is None
    assert len(found.version) <= 40
