"""The agent's log, and the output of the app's generations.

Logging never waits, never raises into its caller and has bounded memory: a line is put in a queue, and a thread
writes it.  If the reader is gone, slow or stopped (Ctrl-S), or the disk is full, lines are dropped and counted; the
count is logged as soon as writing works again.

- ``logger``: the agent's own entries; ``stdout``: the place for them.
- ``app_output``: the lines of the app.
- ``format``: an entry as bytes; ``writer``: the queue and its thread.
"""

from rainbowd.log.app_output import AppSink, app_line, open_app_sink
from rainbowd.log.logger import Logger, configure, get_logger, request, share
from rainbowd.log.writer import BYTES_MAX, LINES_MAX, Writer, flush

__all__ = [
    "BYTES_MAX",
    "LINES_MAX",
    "AppSink",
    "Logger",
    "Writer",
    "app_line",
    "configure",
    "flush",
    "get_logger",
    "open_app_sink",
    "request",
    "share",
]
