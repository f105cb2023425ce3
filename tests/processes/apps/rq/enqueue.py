"""Enqueue a job for each line on stdin: a number, and how many seconds the job takes."""

from __future__ import annotations

import os
import sys

from redis import Redis
from rq import Queue, Retry

queue = Queue(connection=Redis.from_url(os.environ["BROKER"]))
for line in sys.stdin:
    number, seconds = line.split()
    queue.enqueue("shop.job", int(number), float(seconds), retry=Retry(max=1))
    print(number, flush=True)
