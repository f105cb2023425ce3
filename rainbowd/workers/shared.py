"""The numbers that the agent and its workers share, in a file in memory: memfd_create(2).

Each process has three numbers of 8 bytes: that of the last message that changes what it serves, that of its
connections, and that of its held requests.  Connections and held requests are limited for all processes together.
"""

from __future__ import annotations

import mmap
import os

_KINDS = 3
_BYTES = 8


class SharedNumbers:
    """The numbers of all processes.

    Args:
        processes: how many processes there are; the agent is the first.
        descriptor: of the file; None for a new one.

    Attributes:
        descriptor: of the file.
        sent: the number of the last message to each process; written by the agent.
        connections: the connections of each process.
        held_requests: the requests that each process holds.
    """

    def __init__(self, processes: int, descriptor: int | None = None) -> None:
        size = processes * _KINDS * _BYTES
        if descriptor is None:
            descriptor = os.memfd_create("rainbowd-workers")
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        numbers = memoryview(mmap.mmap(descriptor, size)).cast("q")
        self.sent = numbers[:processes]
        self.connections = numbers[processes : 2 * processes]
        self.held_requests = numbers[2 * processes :]

    def clear(self, index: int) -> None:
        """Set all numbers of the process ``index`` to zero, because it has ended."""
        self.sent[index] = self.connections[index] = self.held_requests[index] = 0
