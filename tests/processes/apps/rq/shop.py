"""A job, and a worker that finds jobs soon that another worker took and never began."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from rq import Worker


class SoonTidyWorker(Worker):
    """The usual worker, which checks every half minute instead of every ten minutes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "maintenance_interval": 30})


def job(number: int, seconds: float) -> None:
    note(f"begin {number}")
    time.sleep(seconds)
    note(f"end {number}")


def note(line: str) -> None:
    with Path(os.environ["RESULTS"]).open("a") as file:
        file.write(line + "\n")
