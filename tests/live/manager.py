"""A process manager that is shared by a user, as pm2, tmux and Gradle have one: ``python manager.py SOCKET APP PORT``.

The client asks the daemon behind the Unix socket to run the app with the client's environment, and starts the daemon if
none answers.  It ends when the app does, and passes a TERM on.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


def main(where: str, *command: str) -> int:
    """Run the client of the daemon."""
    try:
        connection = connect(where)
    except OSError:
        if os.fork() == 0:
            os.setsid()
            serve(where)
        deadline = time.monotonic() + 20
        while True:
            try:
                connection = connect(where)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    asked = json.dumps({"command": command, "env": dict(os.environ), "cwd": os.getcwd()})  # noqa: PTH109
    connection.sendall(asked.encode() + b"\n")
    signal.signal(signal.SIGTERM, lambda *_: connection.shutdown(socket.SHUT_WR))
    return int(connection.makefile().readline() or "1")


def connect(where: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(where)
    return connection


def serve(where: str) -> None:
    """Run the daemon, which ends all its apps when it ends."""
    Path(where).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
    listener.listen()
    Path(f"{where}.pid").write_text(str(os.getpid()))
    apps: list[subprocess.Popen[bytes]] = []

    def run(connection: socket.socket) -> None:
        reader = connection.makefile()
        asked = json.loads(reader.readline())
        app = subprocess.Popen(asked["command"], env=asked["env"], cwd=asked["cwd"])
        apps.append(app)

        def pass_on() -> None:
            reader.readline()
            app.terminate()

        threading.Thread(target=pass_on, daemon=True).start()
        connection.sendall(b"%d\n" % app.wait())

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=run, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
