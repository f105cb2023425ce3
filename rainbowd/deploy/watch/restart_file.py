"""The file in which ``rainbowd restart`` requests that companion processes are started again."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.deploy.watch.file_state import escaped
from rainbowd.deploy.watch.regular_file import read_regular_file
from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rainbowd.deploy.watch.regular_file import FoundFile

REQUEST_BYTES = 1024


class RestartRequest(NamedTuple):
    """A request to start companion processes again.

    Attributes:
        process: their name.
        id: by which the requester finds the event of its request.
        by: the owner of the file.
    """

    process: str
    id: str
    by: str


class RestartFile:
    """The watched file, from which each new request is reported.

    The requester writes its request again until the journal has it: another request can replace it before it is seen,
    and an agent that has just begun to watch does not know whether the request that it finds was taken already.

    Args:
        file: that has the request.
        report: called once for each request.

    Attributes:
        paths, due_at: see ``WatchedFiles``.
    """

    due_at = math.inf

    def __init__(self, file: Path, report: Callable[[RestartRequest], object]) -> None:
        self.paths: tuple[Path, ...] = (file,)
        self._file = file
        self._report = report
        self._last_id: str | None = None
        self._found: FoundFile | None = None
        self._is_first = True

    def compare(self, files: Mapping[Path, FoundFile | None], _now: float) -> None:
        """Report the request if the file is new or has changed since the last call."""
        if self._file not in files:
            return
        found, before, is_first = files[self._file], self._found, self._is_first
        self._found, self._is_first = found, False
        if found is None or found == before or is_first:
            return
        request = _parse(read_regular_file(self._file, REQUEST_BYTES) or b"", user_name(found.owner))
        if request is not None and request.id != self._last_id:
            self._last_id = request.id
            self._report(request)


def _parse(data: bytes, by: str) -> RestartRequest | None:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    process, request_id = (fields.get("restart"), fields.get("request")) if isinstance(fields, dict) else (None, None)
    if not (isinstance(process, str) and isinstance(request_id, str) and process and request_id):
        return None
    return RestartRequest(escaped(process), escaped(request_id), by)
