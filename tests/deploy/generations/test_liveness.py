from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import Health, Liveness
from rainbowd.deploy.generations.liveness import ReplacementBackoff, probe_liveness

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")

HEALTH = Health(path="/up", liveness=Liveness(interval=10, failures=3))


class Answering:
    """An app of which nothing is asked but for its health; it answers as it is told to, and is well in the end."""

    address = "127.0.0.1:1"

    def __init__(self, answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def probe(self) -> str | None:
        self.asked += 1
        return "no answer" if self.answers and self.answers.pop(0) == "x" else None


async def silences(answers: str, health: Health | None = HEALTH, *, is_serving: bool = True) -> tuple[int, int]:
    """How often it was said to be silent, and how often it was asked, in two minutes."""
    app: Any = Answering(answers)
    said: list[float] = []
    with trio.move_on_after(125):
        await probe_liveness(app, health, lambda: is_serving, lambda: said.append(trio.current_time()))
        await trio.sleep_forever()
    return len(said), app.asked


@pytest.mark.parametrize(("answers", "said"), [("", 0), ("xx.xx.", 0), ("xxx", 1), ("xxxx.", 2), ("xx.xxx", 1)])
async def test_every_failure_past_the_limit_in_a_row_is_reported(autojump: MockClock, answers: str, said: int) -> None:
    assert await silences(answers) == (said, 12)


async def test_only_a_generation_with_requests_and_liveness_is_probed(autojump: MockClock) -> None:
    assert await silences("xxxxxx", is_serving=False) == (0, 0)
    assert await silences("xxxxxx", None) == (0, 0)
    assert await silences("xxxxxx", Health(path="/up")) == (0, 0)


async def test_patience_grows_with_each_replacement_and_is_reset_after_a_minute_of_life(
    autojump: MockClock,
) -> None:
    backoff = ReplacementBackoff()
    assert backoff.allows_replacement(100)
    assert backoff.allows_replacement(0)
    assert not backoff.allows_replacement(0)
    await trio.sleep(0.5)
    assert backoff.allows_replacement(0)
    assert not backoff.allows_replacement(0)
    await trio.sleep(60)
    assert backoff.allows_replacement(60)
    assert backoff.allows_replacement(0)
