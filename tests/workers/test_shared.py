from __future__ import annotations

import os

from rainbowd.workers.shared import SharedNumbers


def test_two_processes_see_the_same_numbers() -> None:
    agent = SharedNumbers(3)
    worker = SharedNumbers(3, os.dup(agent.descriptor))
    agent.sent[2] = 7
    worker.connections[2] = 8
    worker.held_requests[2] = 9
    assert (worker.sent[2], agent.connections[2], agent.held_requests[2]) == (7, 8, 9)
    assert list(agent.connections) == [0, 0, 8]
    agent.clear(2)
    assert (worker.sent[2], worker.connections[2], worker.held_requests[2]) == (0, 0, 0)
    for numbers in (agent, worker):
        os.close(numbers.descriptor)
