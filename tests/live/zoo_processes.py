"""What the apps and the companion processes of the zoo do with processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def workers() -> None:
    """Children that ignore what they are told, in sessions of their own, and outlive their parent."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(1)


def daemon() -> None:
    """Fork twice, write a pidfile, and let the parent exit with 0, as old servers do."""
    if os.fork():
        time.sleep(0.2)
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    Path(os.environ["PIDFILE"]).write_text(f"{os.getpid()}\n")
