"""Enqueue a job for each line on stdin: a number, and how many seconds the job takes."""

from __future__ import annotations

import os
import sys

from redis import Redis
from rq import Queue, Retry

queue = Queue(connection=Redis.from_url(os.environ["BROKER"]))
retry = Retry(max=int(os.environ["RETRIES"])) if "RETRIES" in os.environ else None
for line in sys.stdin:
    number, seconds = line.split()
    queue.enqueue("shop.job", int(number), float(seconds), retry=retry)
    print(number, flush=True)
