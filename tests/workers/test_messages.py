from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from rainbowd.config import Hold, Limits
from rainbowd.proxy import Maintenance, ProxySettings
from rainbowd.roster import Traffic
from rainbowd.workers.messages import (
    Configure,
    Counts,
    HandOver,
    SiteChange,
    Work,
    decode_maintenance,
    decode_settings,
    decode_traffic,
    encode_maintenance,
    encode_settings,
    encode_traffic,
)


def test_settings_are_the_same_after_json() -> None:
    settings = ProxySettings(
        limits=Limits(body_bytes=5, idle_timeout=0.5, response_timeout=None),
        hold=Hold(timeout=1.5, limit=0),
        trust=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
        access=True,
        assets=(b"/assets/",),
    )
    assert decode_settings(json.loads(json.dumps(encode_settings(settings)))) == settings


def test_a_maintenance_is_the_same_after_json() -> None:
    rules = Maintenance(bytes(range(256)), 120, (ip_network("192.0.2.0/24"),))
    assert decode_maintenance(json.loads(json.dumps(encode_maintenance(rules)))) == rules
    assert decode_maintenance(encode_maintenance(None)) is None


def test_counters_are_added_up() -> None:
    traffic = Traffic()
    traffic.count_response(200, 10, 0.002)
    traffic.count_refusal(503)
    traffic.count_cut(200, 5, by_client=False)
    total = Traffic()
    for _ in range(2):
        total.add(decode_traffic(json.loads(json.dumps(encode_traffic(traffic)))))
    assert (total.exchanges, total.sent_bytes, total.broken, total.own) == (6, 30, 2, {503: 2})
    assert (sum(total.by_duration), total.seconds) == (2, 0.004)


@pytest.mark.parametrize(
    "message",
    [
        Work("1.0", 5, 1, 3, "info", "json"),
        Configure(3, {"access": True}),
        SiteChange(4, None, 1.5, {"503": "<p>"}),
        HandOver(5.0, 1.0, [True]),
        Counts(held=1, traffic=encode_traffic(Traffic())),
    ],
)
def test_a_message_is_the_same_after_json_also_with_fields_of_a_newer_version(
    message: Work | Configure | SiteChange | HandOver | Counts,
) -> None:
    content = json.loads(json.dumps({**message.fields(), "added": "later"}))
    assert type(message).read(content).fields() == json.loads(json.dumps(message.fields()))
