"""The colours of the rainbow: each generation has one, the same on a terminal and on the API's page."""

from __future__ import annotations

COLOURS = (
    "#e5484d",  # red
    "#f76b15",  # orange
    "#e2b203",  # yellow
    "#46a758",  # green
    "#12a5b8",  # cyan
    "#3e7bfa",  # blue
    "#8e4ec6",  # violet
    "#e54cb4",  # pink
)
"""Apart enough to tell neighbours by, on black and on white."""

_CUBE = (0, 95, 135, 175, 215, 255)
"""The levels of the 6x6x6 cube that begins at colour 16 of a terminal's 256."""


def colour(generation: int) -> str:
    """The colour of a generation as ``#rrggbb``."""
    return COLOURS[(generation - 1) % len(COLOURS)]


def foreground(generation: int, *, is_true_colour: bool) -> str:
    """The same as parameters of SGR (ECMA-48): of 24 bits, or the nearest of a terminal's 256 colours."""
    code = colour(generation)
    levels = [int(code[at : at + 2], 16) for at in (1, 3, 5)]
    if is_true_colour:
        return "38;2;" + ";".join(map(str, levels))
    red, green, blue = (min(range(6), key=lambda step: abs(_CUBE[step] - level)) for level in levels)
    return f"38;5;{16 + 36 * red + 6 * green + blue}"
