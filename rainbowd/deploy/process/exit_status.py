"""Exit statuses as text for people."""

from __future__ import annotations

import signal

_SHELL_STATUSES = {126: " (a command is not executable)", 127: " (a command was not found)"}
"""What a shell means by its exit status, by POSIX.1-2017, XCU 2.8.2."""


def describe_exit(status: int | None) -> str:
    """Return an exit status as text.

    Args:
        status: negative for a signal, None if unknown.
    """
    if status is None:
        return "ended"
    if status < 0:
        return f"was ended by {_signal_name(-status)}"
    return f"exited with status {status}" + _SHELL_STATUSES.get(status, "")


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return f"signal {signum}"
