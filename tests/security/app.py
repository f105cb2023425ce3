"""An app that tries to outlive its generation: ``python app.py PORT``, by the ``escapes.json`` of its release.

``escapes.json`` is a list of what each escape changes in its environment; null clears it.  An escape forks twice,
leaves its session and does not obey.  ``GET /escape`` makes them again, ``GET /close`` closes the listener.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"


def escape(changes: dict[str, str] | None) -> None:
    """Leave a process behind that nothing leads to."""
    env = {} if changes is None else {**os.environ, **changes}
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve(sys.executable, ["escaped", "-S", "-c", SLEEP, str(Path.cwd())], env)


def escapes() -> None:
    for changes in json.loads(Path("escapes.json").read_text()):
        escape(changes)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/escape":
            escapes()
        if self.path == "/close":
            threading.Thread(target=close).start()
        body = os.environ["RAINBOWD_GENERATION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Read a body to its end, whatever it contains."""
        while self.rfile.read(65536):
            pass

    def log_message(self, *_: object) -> None: ...


def close() -> None:
    server.shutdown()
    server.socket.close()
    signal.pause()


class Server(http.server.ThreadingHTTPServer):
    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, _ = self.socket.accept()
        return connection, ("127.0.0.1", 0)


if Path("escapes.json").exists():
    escapes()
where = sys.argv[1]
if not where.isdecimal():
    Server.address_family = socket.AF_UNIX
server = Server(("127.0.0.1", int(where)) if where.isdecimal() else where, Handler)  # type: ignore[arg-type]
server.serve_forever()
signal.pause()
