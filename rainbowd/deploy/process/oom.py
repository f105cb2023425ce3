"""The agent's and its apps' standing with the out-of-memory killer (proc_pid_oom_score_adj(5)).

An app that needs all memory is the one to be killed, and never its agent, which launches it again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rainbowd.deploy.process.owner import as_owner

_LOWER_BY = 500
_LEAST = -999
"""One more would exempt the agent altogether, and with it a leak of its own."""

_OWN = Path("/proc/self/oom_score_adj")

_given: list[int] = []
"""What the agent was started with, if it has another now."""


def protect_agent() -> None:
    """Lower our own value, if we may (CAP_SYS_RESOURCE), so that an app is killed first."""
    with suppress(OSError, ValueError):
        given = int(_OWN.read_text())
        lower = max(_LEAST, given - _LOWER_BY)
        if lower < given:
            _OWN.write_text(str(lower))
            _given[:] = [given]


def restore(pid: int) -> None:
    """Give a child the value that the agent was started with: to raise one is always allowed."""
    if _given:
        with suppress(OSError), as_owner(pid):
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(_given[0]))
