"""The status of a companion process, as people see it in ``rainbowd status``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple


class ProcessState(enum.StrEnum):
    """The states of a companion process, with the values of ``status.json``."""

    WAITING = "waiting"  # for its turn, or for the delay before it is started again
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(slots=True)
class ProcessStatus:
    """The status of one companion process.

    Attributes:
        name: the key in the config's ``processes``.
        instance: counted from 1.
        state: see ``ProcessState``.
        pid: of the main process; None while none runs.
        started_at: of the present process, in seconds since the epoch; None while none runs.
        restarts: how often it was started again in this generation.
        exits: how often it has exited by itself.
        exits_in_a_row: how often it has exited by itself since it last ran for a minute.
        last_output: what it wrote before it last exited by itself, or why it could not be started.
    """

    name: str
    instance: int
    state: ProcessState = ProcessState.WAITING
    pid: int | None = None
    started_at: float | None = None
    restarts: int = 0
    exits: int = 0
    exits_in_a_row: int = 0
    last_output: list[str] = field(default_factory=list)


class KeptProcesses(NamedTuple):
    """The companion processes of a crashed generation, which go on until its app is live again.

    Attributes:
        generation: its id.
        processes: the status of each.
    """

    generation: int
    processes: list[ProcessStatus]
