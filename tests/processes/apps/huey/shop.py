"""A job and a schedule."""

from __future__ import annotations

import os
import time
from pathlib import Path

from huey import RedisHuey, crontab

huey = RedisHuey("shop", url=os.environ["BROKER"])


@huey.task()
def job(number: int, seconds: float) -> None:
    note(f"begin {number}")
    time.sleep(seconds)
    note(f"end {number}")


@huey.periodic_task(crontab())
def tick() -> None:
    note("tick")


def note(line: str) -> None:
    with Path(os.environ["RESULTS"]).open("a") as file:
        file.write(line + "\n")
