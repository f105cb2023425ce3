from __future__ import annotations

from rainbowd.deploy.generations.backoff import Backoff


def test_the_delay_is_none_then_half_a_second_and_doubles_up_to_thirty() -> None:
    backoff = Backoff()
    assert [backoff.next_delay_seconds(0.0) for _ in range(9)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_minute_of_life_resets_the_delay_and_less_does_not() -> None:
    backoff = Backoff()
    for _ in range(4):
        backoff.next_delay_seconds(0.0)
    assert backoff.next_delay_seconds(59.9) == 4.0
    assert backoff.next_delay_seconds(60.0) == 0.0
    assert backoff.next_delay_seconds(0.0) == 0.5


def test_it_can_be_reset_at_any_time() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_delay_seconds(0.0)
    backoff.reset()
    assert [backoff.next_delay_seconds(0.0) for _ in range(3)] == [0.0, 0.5, 1.0]
