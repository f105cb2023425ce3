from __future__ import annotations

import re

from rainbowd.report.palette import COLOURS, colour, foreground


def test_neighbours_differ_and_the_colours_come_again() -> None:
    assert len(set(COLOURS)) == len(COLOURS)
    assert [colour(number) for number in range(1, len(COLOURS) + 2)] == [*COLOURS, COLOURS[0]]
    assert all(re.fullmatch("#[0-9a-f]{6}", code) for code in COLOURS)


def test_a_terminal_gets_the_same_colours_as_well_as_it_can_show_them() -> None:
    assert foreground(1, is_true_colour=True) == "38;2;229;72;77"
    assert foreground(1, is_true_colour=False) == "38;5;167"
    assert len({foreground(number, is_true_colour=False) for number in range(1, 9)}) == 8
