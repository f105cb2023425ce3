"""A job."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))


@dramatiq.actor
def job(number: int, seconds: float) -> None:
    note(f"begin {number}")
    time.sleep(seconds)
    note(f"end {number}")


def note(line: str) -> None:
    with Path(os.environ["RESULTS"]).open("a") as file:
        file.write(line + "\n")
