"""What the agent says, and where the apps' own lines go.

Nothing here waits, raises into its caller or grows without bound: a line is put in a queue, and a thread
writes.  Where the reader is gone, slow or stopped (Ctrl-S), or the disk is full, lines are dropped and counted;
the count is said as soon as writing works again.

- ``logger``: the agent's own lines, through structlog as ``structured`` has it; ``apps``: the apps' lines.
- ``entry``: a line as bytes; ``writing``: the queue and its thread.
"""

from rainbowd.log.app_output import app_line, open_app_sink
from rainbowd.log.logger import Logger, configure, flush, get_logger, load, request
from rainbowd.log.writer import BYTES_MAX, LINES_MAX, Writer

__all__ = [
    "BYTES_MAX",
    "LINES_MAX",
    "Logger",
    "Writer",
    "app_line",
    "configure",
    "flush",
    "get_logger",
    "load",
    "open_app_sink",
    "request",
]
