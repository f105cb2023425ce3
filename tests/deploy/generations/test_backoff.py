from __future__ import annotations

from rainbowd.deploy.generations.backoff import Backoff


def test_at_once_then_half_a_second_doubled_up_to_thirty() -> None:
    back_off = Backoff()
    assert [back_off.after(0.0) for _ in range(9)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_minute_of_life_begins_anew_and_less_does_not() -> None:
    back_off = Backoff()
    for _ in range(4):
        back_off.after(0.0)
    assert back_off.after(59.9) == 4.0
    assert back_off.after(60.0) == 0.0
    assert back_off.after(0.0) == 0.5


def test_it_can_begin_anew_at_any_time() -> None:
    back_off = Backoff()
    for _ in range(5):
        back_off.after(0.0)
    back_off.begin_anew()
    assert [back_off.after(0.0) for _ in range(3)] == [0.0, 0.5, 1.0]
