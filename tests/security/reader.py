"""Reads all that its account can: ``python reader.py DIRECTORY PID...``: files below, and what /proc shows.

It prints how much it could read, the names of the files as JSON, and their content.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

directory, *pids = sys.argv[1:]
places = [path for path in Path(directory).rglob("*") if path.suffix != ".py"]
places += [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ", "comm", "stat", "status")]
read: dict[str, str] = {}
for place in places:
    with contextlib.suppress(OSError):
        if place.is_file():
            read[str(place)] = place.read_bytes().decode(errors="replace")
print(len(read))
print(json.dumps([Path(name).name for name in read]))
print("\n".join(read.values()), flush=True)
