"""A web page, a task and a schedule."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

RESULTS = Path(os.environ["RESULTS"])

app = Celery("shop", broker=os.environ["BROKER"])
app.conf.update(
    beat_schedule={"tick": {"task": "shop.tick", "schedule": 0.5}},
    beat_schedule_filename=os.environ["BEAT_SCHEDULE"],
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


def note(line: str) -> None:
    with RESULTS.open("a") as file:
        file.write(line + "\n")


@app.task(name="shop.job")
def job(number: int, seconds: float) -> None:
    note(f"begin {number}")
    time.sleep(seconds)
    note(f"end {number}")


@app.task(name="shop.tick")
def tick() -> None:
    note("tick")
