"""The queues of the matrix: what each needs, and its processes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APPS = Path(__file__).with_name("apps")


@dataclass(frozen=True)
class Queue:
    """One queue with its processes.

    Attributes:
        name: of the queue, and of its directory in ``apps``.
        pip: its packages on PyPI.
        program: the command that shows that Debian's packages are there.
        debian: the packages that bring it.
        enqueue: the command that enqueues a job for each line on its stdin.
        processes: the key of the config.
        job_seconds: how long the longest job takes.
        finished_seconds: how long the last jobs may take after the last one was enqueued.
    """

    name: str
    pip: tuple[str, ...] = ()
    program: str = ""
    debian: tuple[str, ...] = ()
    enqueue: tuple[str, ...] = ()
    processes: dict[str, Any] = field(default_factory=dict)
    job_seconds: float = 3.0
    finished_seconds: float = 60.0


QUEUES = (
    Queue(
        "celery",
        pip=("celery[redis]>=5.3",),
        enqueue=("python", "enqueue.py"),
        processes={
            "worker": {
                "run": [
                    "celery",
                    "-A",
                    "shop",
                    "worker",
                    "--pool",
                    "threads",
                    "--concurrency",
                    "12",
                    "--hostname",
                    "%n-{generation}@localhost",
                ],
                "instances": 2,
            },
            "beat": {"run": ["celery", "-A", "shop", "beat"], "overlap": False},
        },
    ),
    Queue(
        "rq",
        pip=("rq>=1.16", "redis>=5"),
        enqueue=("python", "enqueue.py"),
        processes={
            "worker": {
                "run": "exec rq worker --url $BROKER --worker-ttl 30 --worker-class shop.SoonTidyWorker",
                "instances": 4,
            }
        },
        job_seconds=0.3,
        finished_seconds=180.0,
    ),
    Queue(
        "sidekiq",
        program="sidekiq",
        debian=("ruby-sidekiq",),
        enqueue=("ruby", "enqueue.rb"),
        processes={"worker": {"run": ["sidekiq", "-r", "./shop.rb", "-c", "24", "-t", "20"]}},
    ),
)

WEB = [sys.executable, str(APPS.parents[1] / "live" / "app.py"), "{port}"]
"""The app: the companion processes are what is measured."""
