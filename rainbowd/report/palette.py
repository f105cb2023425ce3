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


def colour(generation: int) -> str:
    """The colour of a generation as ``#rrggbb``."""
    return COLOURS[(generation - 1) % len(COLOURS)]


def foreground(generation: int) -> str:
    """The same as the parameters of SGR, for a terminal of 24 bits; see ECMA-48 and ITU-T T.416."""
    code = colour(generation)
    red, green, blue = (int(code[at : at + 2], 16) for at in (1, 3, 5))
    return f"38;2;{red};{green};{blue}"
