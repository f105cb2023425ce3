"""Companion processes as they are out there: ``python zoo_companion.py``, by the number of their generation.

A beat must be alone: it holds a lock, and leaves ``beat.doubled`` in the site if another has it.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import time
from pathlib import Path

from zoo_processes import daemon, workers  # type: ignore[import-not-found]

KINDS = "good", "good", "slow", "deaf", "daemon", "forks", "ends", "fails"
JOB_SECONDS = 1.5


def be_alone() -> None:
    """Take the lock of the site, or leave a note that another process has it."""
    site = Path(os.environ["RAINBOWD_STATE_DIR"]).parent
    lock = os.open(site / "beat.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (site / "beat.doubled").write_text(os.environ["RAINBOWD_GENERATION"])


def finish_job(*_: object) -> None:
    """Finish the job in progress."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(9))  # a worker that is asked twice drops its job
    time.sleep(JOB_SECONDS)
    sys.exit(0)


def main() -> None:
    """Behave as one of the kinds, until asked to end."""
    name, instance = os.environ["RAINBOWD_PROCESS"], os.environ["RAINBOWD_INSTANCE"]
    kind = random.Random(f"{os.environ['RAINBOWD_GENERATION']} {name} {instance}").choice(KINDS)
    if name == "beat":
        be_alone()
        kind = {"daemon": "good", "forks": "good"}.get(kind, kind)
    if kind == "slow":
        signal.signal(signal.SIGTERM, finish_job)
    elif kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif kind == "daemon":
        daemon()
    elif kind == "forks":
        workers()
    elif kind in {"ends", "fails"}:
        time.sleep(0.2 if kind == "ends" else 0.0)
        sys.exit(0 if kind == "ends" else 3)
    print(f"{name} {instance} is {kind}", flush=True)
    while True:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
