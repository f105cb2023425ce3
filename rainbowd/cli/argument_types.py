"""The types of the arguments on the command line."""

from __future__ import annotations

import os


def text(argument: str) -> str:
    """Return an argument as text; bytes that are not UTF-8 are escaped."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode(errors="backslashreplace")
    return argument


def seconds(argument: str) -> float:
    """Return an argument as a duration in seconds.

    Raises:
        ValueError: it is not a finite number, or it is negative.
    """
    duration_seconds = float(argument)
    if not 0 <= duration_seconds < float("inf"):
        raise ValueError
    return duration_seconds


def count(argument: str) -> int:
    """Return an argument as a number that is not negative.

    Raises:
        ValueError: it is not a number, or it is negative.
    """
    number = int(argument)
    if number < 0:
        raise ValueError
    return number


seconds.__name__, count.__name__ = "number of seconds", "number"  # argparse names the type in its errors
