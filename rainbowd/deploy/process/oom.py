"""The agent's and its apps' standing with the out-of-memory killer (proc_pid_oom_score_adj(5)).

An app that needs all memory is the one to be killed, and never its agent, which launches it again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rainbowd.deploy.process.as_user import as_owner

_LOWER_BY = 500
_LEAST = -999
"""One more would exempt the agent altogether, and with it a leak of its own."""

_OWN = Path("/proc/self/oom_score_adj")

_given: list[int] = []
"""What apps get instead of the agent's own: what the agent was started with, or 0 if only systemd could lower that."""

_started_with: list[int] = []
"""What the agent was started with, if it has lowered that itself."""


def protect_agent() -> None:
    """Lower our own value, if we may (CAP_SYS_RESOURCE), so that an app is killed first.

    If we may not and it is below 0, it was lowered for us, as by OOMScoreAdjust in a unit: then apps get 0.
    """
    with suppress(OSError, ValueError):
        given = int(_OWN.read_text())
        lower = max(_LEAST, given - _LOWER_BY)
        if lower < given:
            if _lower(lower):
                _given[:] = _started_with[:] = [given]
            elif given < 0:
                _given[:] = [0]


def _lower(value: int) -> bool:
    """Set our own value to a lower one; return False if we may not."""
    try:
        _OWN.write_text(str(value))
    except PermissionError:
        return False
    return True


def restore(pid: int) -> None:
    """Give an app or a hook a value of its own, if it is not to have the agent's: to raise one is always allowed."""
    _set(pid, _given)


def restore_agent(pid: int) -> None:
    """Give a new agent the value that this one was started with; it lowers that itself, if it may."""
    _set(pid, _started_with)


def _set(pid: int, values: list[int]) -> None:
    for value in values:
        with suppress(OSError), as_owner(pid):
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(value))
