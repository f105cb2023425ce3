"""The colours of the rainbow: one for each generation, the same on a terminal and on the dashboard."""

from __future__ import annotations

COLOURS = (
    "#2f9e5f",  # green
    "#3e7bfa",  # blue
    "#cfa006",  # yellow
    "#8e4ec6",  # violet
    "#12a5b8",  # cyan
    "#c94fd6",  # magenta
    "#7aa116",  # lime
    "#6366d8",  # indigo
)
"""The colours in order, each distinct from its neighbours on black and on white.

Red and grey are left out: red stands for trouble and grey for nothing, and a healthy generation is neither.
"""

_CUBE = (0, 95, 135, 175, 215, 255)
"""The levels of the 6x6x6 cube that begins at colour 16 of a terminal's 256."""


def colour(generation: int) -> str:
    """Return the colour of a generation as ``#rrggbb``."""
    return COLOURS[(generation - 1) % len(COLOURS)]


def foreground(generation: int, *, is_true_colour: bool) -> str:
    """Return the colour of a generation as parameters of SGR (ECMA-48).

    Args:
        generation: the ID.
        is_true_colour: whether the terminal has 24-bit colours; otherwise it is the nearest of 256.
    """
    code = colour(generation)
    levels = [int(code[at : at + 2], 16) for at in (1, 3, 5)]
    if is_true_colour:
        return "38;2;" + ";".join(map(str, levels))
    red, green, blue = (min(range(6), key=lambda step: abs(_CUBE[step] - level)) for level in levels)
    return f"38;5;{16 + 36 * red + 6 * green + blue}"
