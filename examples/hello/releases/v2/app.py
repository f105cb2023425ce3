"""A web app of the standard library alone, to try rainbowd with: ``python3 app.py PORT``.

``/`` is a page in this release's colour.  ``/version`` is the release in one line of text, with its colour in the
header ``Colour``.  ``/up`` says that the app is ready, ``/slow?seconds=3`` takes its time, and ``/stream?seconds=5``
sends a line every 0.2 seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from string import Template
from urllib.parse import parse_qs, urlsplit

RELEASE = "v2"
COLOUR = "#2f7d4f"

GENERATION = os.environ.get("RAINBOWD_GENERATION", "none")
VERSION = f"{RELEASE}, generation {GENERATION}, pid {os.getpid()}"
PAGE = Template(Path(__file__).with_name("page.html").read_text("utf-8")).substitute(
    release=RELEASE, colour=COLOUR, generation=GENERATION, pid=os.getpid()
)
LINE_SECONDS = 0.2
LONGEST_SECONDS = 60.0


class Server(ThreadingTCPServer):
    """One thread a connection; none of them keeps the process alive."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests, one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = "hello"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a GET or HEAD."""
        url = urlsplit(self.path)
        match url.path:
            case "/":
                self.answer(PAGE, "text/html; charset=utf-8")
            case "/version":
                self.answer(f"{VERSION}\n", colour=COLOUR)
            case "/up":
                self.answer("up\n")
            case "/slow":
                seconds = seconds_asked(url.query, usual=3.0)
                time.sleep(seconds)
                self.answer(f"{seconds:g} seconds later, still {VERSION}\n")
            case "/stream":
                self.stream(seconds_asked(url.query, usual=5.0))
            case _:
                self.answer("there is no such page\n", status=HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET  # noqa: N815

    def answer(
        self, text: str, kind: str = "text/plain; charset=utf-8", status: int = HTTPStatus.OK, colour: str = ""
    ) -> None:
        """Send ``text`` whole, and ``colour`` if there is one."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if colour:
            self.send_header("Colour", colour)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self, seconds: float) -> None:
        """Send a line every ``LINE_SECONDS``, each as a chunk of its own: RFC 9112 section 7.1."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        lines = max(1, round(seconds / LINE_SECONDS))
        for number in range(1, lines + 1):
            line = f"{number} of {lines} from {VERSION}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            time.sleep(LINE_SECONDS)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Leave the health checks and the page's own polling out of the log."""
        if not self.path.startswith(("/up", "/version")):
            print(self.command, self.path, args[1] if len(args) > 1 else format % args, flush=True)


def seconds_asked(query: str, usual: float) -> float:
    """Read ``seconds=3`` from a query: at most a minute, ``usual`` where it is missing or no number."""
    try:
        asked = float(parse_qs(query)["seconds"][0])
    except (KeyError, ValueError):
        return usual
    return min(asked, LONGEST_SECONDS) if asked > 0 else 0.0


def leave(*_: object) -> None:
    """End at once: rainbowd says TERM only when this app has nothing in flight any more."""
    raise SystemExit(0)


def main() -> None:
    """Serve on 127.0.0.1 until TERM."""
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():  # noqa: PLR2004
        sys.exit("usage: python3 app.py PORT")
    signal.signal(signal.SIGTERM, leave)
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print(f"hello {VERSION} listens on port {sys.argv[1]}", flush=True)
        server.serve_forever(poll_interval=60)


if __name__ == "__main__":
    main()
