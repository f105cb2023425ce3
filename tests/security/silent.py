"""Keeps connections open that say nothing: ``python silent.py HOST PORT NUMBER``, until it is terminated.

One that is closed is replaced.  It prints a line once all are open, and at the end how many it has opened.
"""

from __future__ import annotations

import collections
import contextlib
import signal
import socket
import sys
import time

host, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
streams: collections.deque[socket.socket] = collections.deque(maxlen=number)
opened = 0


def end(*_: object) -> None:
    print(opened, flush=True)
    sys.exit()


signal.signal(signal.SIGTERM, end)
while True:
    with contextlib.suppress(OSError):
        streams.append(socket.create_connection((host, port), timeout=1))
        opened += 1
    if opened == number:
        print("silent", flush=True)
    if opened >= number:
        time.sleep(0.001)
