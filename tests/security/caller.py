"""Calls an API without a token: ``python caller.py HOST PORT METHOD TARGET``, or ``unix PATH``; prints the outcome."""

from __future__ import annotations

import http.client
import socket
import sys

host, port, method, target = sys.argv[1:]
connection = http.client.HTTPConnection("api", timeout=10)
connection.sock = socket.socket(
    socket.AF_UNIX if host == "unix" else socket.AF_INET6 if ":" in host else socket.AF_INET
)
try:
    connection.sock.connect(port if host == "unix" else (host, int(port)))
    connection.request(method, target)
    print(connection.getresponse().status, flush=True)
except OSError as error:
    print(error.strerror, flush=True)
