"""http.server, as in many a small tool."""

import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/stream"):
            return self.stream()
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        return self.answer(self.path.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        digest = hashlib.sha256(body).hexdigest()
        self.answer(json.dumps({"length": len(body), "sha256": digest}).encode())

    def head(self, name, value):
        self.send_response(200)
        self.send_header("X-Generation", os.environ.get("RAINBOWD_GENERATION", "0"))
        self.send_header(name, value)
        self.end_headers()

    def answer(self, body):
        self.head("Content-Length", str(len(body)))
        self.wfile.write(body)

    def stream(self):
        self.head("Connection", "close")
        for number in range(10):
            self.wfile.write(b"%d\n" % number)
            time.sleep(0.05)
        self.wfile.write(b"end\n")

    def log_message(self, *_):
        pass


# "/up" answers as all others do
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
