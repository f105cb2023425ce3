from __future__ import annotations

import pytest

from rainbowd.config import Health
from rainbowd.deploy.machine.hint import hint

HTTPS = {"X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("status", "location", "lines"),
    [
        (400, None, ["'localhost'", "set health.host"]),
        (421, None, ["set health.host"]),
        (403, None, ["set health.host", "health.path", 'health.status to "200-299,403"']),
        (401, None, ["health.path", 'health.status to "200-299,401"']),
        (404, None, ["no page '/up'", "set health.path"]),
        (301, "https://shop.example/up", ['set health.headers to {"X-Forwarded-Proto": "https"}']),
        (301, "/up/", ['set health.path to "/up/"']),
        (308, "http://localhost/up/", ['set health.path to "/up/"']),
        (302, "/login?next=/up", ["set health.path", 'health.status to "200-299,302"']),
    ],
)
def test_a_refusal_names_the_lines_that_help(status: int, location: str | None, lines: list[str]) -> None:
    told = str(hint(status, location, Health(path="/up")))
    assert [line for line in lines if line not in told] == []


def test_an_app_that_forces_https_whatever_it_is_told_is_not_to_be_told_so_again() -> None:
    health = Health.model_validate({"path": "/up", "headers": HTTPS})
    assert str(hint(301, "https://shop.example/up", health)).endswith('set health.status to "200-299,301"')


@pytest.mark.parametrize("status", [405, 500, 503])
def test_a_failure_of_the_app_s_own_has_no_line(status: int) -> None:
    assert hint(status, None, Health(path="/up")) is None
