"""Puts something unexpected in place of a file: ``python trickery.py KIND PATH [TARGET]``."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

HUGE_BYTES = 10 * 2**30
HOSTILE_NOTE = "\x1b]0;owned\x07\x00\u202e" + "x" * 300

kind, name, *rest = sys.argv[1:]
path = Path(name)
if path.is_dir() and not path.is_symlink():
    path.rmdir()
path.unlink(missing_ok=True)
if kind == "text":
    path.write_text(rest[0])
elif kind == "symlink":
    path.symlink_to(rest[0])
elif kind == "hard link":
    try:
        path.hardlink_to(rest[0])
    except OSError as error:  # fs.protected_hardlinks
        print(error.strerror, end=" ")
elif kind == "fifo":
    os.mkfifo(path)
elif kind == "directory":
    path.mkdir()
elif kind == "socket":
    socket.socket(socket.AF_UNIX).bind(name)
elif kind == "sparse":
    path.touch()
    os.truncate(path, HUGE_BYTES)
elif kind == "time":
    path.write_text("a note")
    os.utime(path, (int(rest[0]), int(rest[0])))
elif kind == "nested":
    path.write_text('{"note": ' + "[" * 900)
elif kind == "note":
    path.write_text(json.dumps({"note": HOSTILE_NOTE, "release": rest[0]}))
else:
    sys.exit(f"unknown kind {kind}")
print("done", flush=True)
