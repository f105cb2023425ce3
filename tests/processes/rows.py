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
        name: of the row.
        title: for the page; the version follows it.
        app: its directory in ``apps``.
        package: the package on PyPI whose version counts.
        pip: its packages on PyPI.
        program: the command that shows that Debian's packages are there.
        debian: the packages that bring it.
        enqueue: the command that enqueues a job for each line on its stdin.
        processes: the key of the config.
        env: variables of its app.
        job_seconds: how long the longest job takes.
        finished_seconds: how long the last jobs may take after the last one was enqueued.
        own_fault: why the queue by itself loses jobs or runs them twice; empty if it must not.
    """

    name: str
    title: str
    app: str
    package: str = ""
    pip: tuple[str, ...] = ()
    program: str = ""
    debian: tuple[str, ...] = ()
    enqueue: tuple[str, ...] = ("python", "enqueue.py")
    processes: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    job_seconds: float = 3.0
    finished_seconds: float = 60.0
    own_fault: str = ""


BEAT = {"run": ["celery", "-A", "shop", "beat"], "overlap": False}


def _celery(*options: str) -> dict[str, Any]:
    """Return two Celery workers, each with a name of its own, and a beat."""
    name = "%n-{generation}-$RAINBOWD_INSTANCE@localhost"  # two workers of one name miss each other's messages
    run = f'exec celery -A shop worker --hostname "{name}" {" ".join(options)}'
    return {"worker": {"run": run, "instances": 2}, "beat": BEAT}


QUEUES = (
    Queue(
        "celery",
        "Celery (threads), two workers and beat",
        "celery",
        package="celery",
        pip=("celery[redis]>=5.3",),
        processes=_celery("--pool", "threads", "--concurrency", "12"),
    ),
    Queue(
        "celery-prefork",
        "Celery (prefork), two workers and beat",
        "celery",
        package="celery",
        pip=("celery[redis]>=5.3",),
        processes=_celery("--concurrency", "4"),
        job_seconds=1.0,
        own_fault="a worker can give back a job that one of its children has begun",
    ),
    Queue(
        "rq-plain",
        "RQ, plain",
        "rq",
        package="rq",
        pip=("rq>=1.16", "redis>=5"),
        processes={"worker": {"run": "exec rq worker --url $BROKER", "instances": 4}},
        job_seconds=0.3,
        finished_seconds=20.0,
        own_fault="a worker can take a job, and end before beginning it",
    ),
    Queue(
        "rq",
        "RQ, as described above",
        "rq",
        package="rq",
        pip=("rq>=1.16", "redis>=5"),
        processes={
            "worker": {
                "run": "exec rq worker --url $BROKER --worker-ttl 30 --worker-class shop.SoonTidyWorker",
                "instances": 4,
            }
        },
        env={"RETRIES": "1"},
        job_seconds=0.3,
        finished_seconds=1200.0,
    ),
    Queue(
        "dramatiq",
        "Dramatiq",
        "dramatiq",
        package="dramatiq",
        pip=("dramatiq[redis]>=1.17",),
        processes={"worker": {"run": ["dramatiq", "shop", "--processes", "2", "--threads", "12"]}},
    ),
    Queue(
        "huey",
        "Huey (threads)",
        "huey",
        package="huey",
        pip=("huey>=2.5", "redis>=5"),
        processes={
            "worker": {
                "run": ["huey_consumer", "shop.huey", "-k", "thread", "-w", "24"],
                "overlap": False,
                "stop": {"signal": "INT"},
            }
        },
    ),
    Queue(
        "sidekiq",
        "Sidekiq",
        "sidekiq",
        program="sidekiq",
        debian=("ruby-sidekiq",),
        enqueue=("ruby", "enqueue.rb"),
        processes={"worker": {"run": ["sidekiq", "-r", "./shop.rb", "-c", "24", "-t", "20"]}},
    ),
)

WEB = [sys.executable, str(APPS.parents[1] / "live" / "app.py"), "{port}"]
"""The app: the companion processes are what is measured."""
