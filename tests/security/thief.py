"""Answers in the place of an app: ``python thief.py ADDRESS PORT [wait]``.

It prints a line once it listens, or why it does not.  With ``wait`` it prints a line and then tries until it listens.
"""

from __future__ import annotations

import socket
import sys
import time

host, port, *wait = sys.argv[1:]
if host == "unix":
    listener = socket.socket(socket.AF_UNIX)
else:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
if wait:
    print("waits", flush=True)
while True:
    try:
        listener.bind(port if host == "unix" else (host, int(port)))
        break
    except OSError as error:
        if not wait:
            print(error, flush=True)
            sys.exit(1)
        time.sleep(0.001)
listener.listen()
print("listens", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nSTOLEN")
    connection.close()
