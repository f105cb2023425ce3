"""A WSGI application (PEP 3333)."""

import hashlib
import json
import os
import time


def stream():
    for number in range(10):
        yield b"%d\n" % number
        time.sleep(0.05)
    yield b"end\n"


def application(environ, start_response):
    path = environ["PATH_INFO"]  # "/up" answers as all others do
    if path == "/slow":
        time.sleep(0.3)
    fields = [("Content-Type", "text/plain"), ("X-Generation", os.environ.get("RAINBOWD_GENERATION", "0"))]
    if path == "/stream":
        start_response("200 OK", fields)
        return stream()
    body = path.encode()
    if path == "/echo":
        length = environ.get("CONTENT_LENGTH")
        received = environ["wsgi.input"].read(int(length)) if length else environ["wsgi.input"].read()
        body = json.dumps({"length": len(received), "sha256": hashlib.sha256(received).hexdigest()}).encode()
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]
