"""Enqueue a job for each line on stdin: a number, and how many seconds the job takes."""

from __future__ import annotations

import sys

from shop import job

for line in sys.stdin:
    number, seconds = line.split()
    job.send(int(number), float(seconds))
    print(number, flush=True)
