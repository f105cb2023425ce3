from __future__ import annotations

import colorsys
import re

from rainbowd.report.palette import COLOURS, colour, foreground


def test_neighbours_differ_and_the_colours_come_again() -> None:
    assert len(set(COLOURS)) == len(COLOURS)
    assert [colour(number) for number in range(1, len(COLOURS) + 2)] == [*COLOURS, COLOURS[0]]
    assert all(re.fullmatch("#[0-9a-f]{6}", code) for code in COLOURS)


def test_a_terminal_gets_the_same_colours_as_well_as_it_can_show_them() -> None:
    assert foreground(1, is_true_colour=True) == "38;2;47;158;95"
    assert foreground(1, is_true_colour=False) == "38;5;35"
    assert len({foreground(number, is_true_colour=False) for number in range(1, 9)}) == 8


def test_no_generation_is_red_or_grey() -> None:
    for code in COLOURS:
        hue, _, saturation = colorsys.rgb_to_hls(*(int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)))
        assert 40 <= hue * 360 <= 320, f"{code} is red"
        assert saturation >= 0.4, f"{code} is grey"
