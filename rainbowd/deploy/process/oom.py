"""The scores of the agent and of its apps for the out-of-memory killer (proc_pid_oom_score_adj(5)).

If an app uses up all memory, the kernel should kill the app and not the agent, which can launch it again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rainbowd.deploy.process.as_user import as_owner

_LOWER_BY = 500
_LEAST = -999
"""The lowest score that the agent sets; -1000 would exempt the agent even if the agent itself has a memory leak."""

_OWN = Path("/proc/self/oom_score_adj")

_given: list[int] = []
"""The score of apps if it differs from the agent's: the agent's first one, or 0 if systemd has lowered that."""

_started_with: list[int] = []
"""The score with which the agent was started, if the agent has lowered it."""


def protect_agent() -> None:
    """Lower the agent's score, if it may (CAP_SYS_RESOURCE), so that an app is killed first.

    If it may not and its score is below 0, systemd has lowered it (OOMScoreAdjust=), and apps get 0.
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
    """Lower the agent's score to ``value``; return False if it may not."""
    try:
        _OWN.write_text(str(value))
    except PermissionError:
        return False
    return True


def restore(pid: int) -> None:
    """Give an app or a hook its own score, if it differs from the agent's; raising a score is always allowed."""
    _set(pid, _given)


def restore_agent(pid: int) -> None:
    """Give a new agent the score with which this one was started; the new agent lowers it again if it may."""
    _set(pid, _started_with)


def _set(pid: int, values: list[int]) -> None:
    for value in values:
        with suppress(OSError), as_owner(pid):
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(value))
