"""``status.json``: what the agent is and which generations there are, at this moment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rainbowd.errors import RainbowdError
from rainbowd.report.reserved_file import Reserve
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "status.json"
FORMAT = 1
"""Raised when a reader of the one before could misread it."""

Status = dict[str, object]


def write(state_dir: Path, status: Mapping[str, object]) -> None:
    """Replace the file, atomically, also on a full disk; it need not survive a power failure.

    Raises:
        OSError: it cannot be written; the one before is there still.
    """
    text = json.dumps({"format": FORMAT, **status}, default=str)
    Reserve(state_dir / NAME).replace(text.encode() + b"\n")


def read(state_dir: Path) -> Status | None:
    """What the file says, whoever wrote it and whether that is alive; None where there is none.

    Raises:
        RainbowdError: it cannot be read, is damaged, or is of a format that this version does not know.
    """
    path = state_dir / NAME
    try:
        with open_to_read(path) as file:
            status = json.loads(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RainbowdError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise RainbowdError(f"{path}: damaged; expected what an agent writes there") from None
    if not isinstance(status, dict):
        raise RainbowdError(f"{path}: damaged; expected an object")
    if status.get("format") != FORMAT:
        found = json.dumps(status.get("format"))
        raise RainbowdError(
            f"{path}: found format {found}; this version of rainbowd reads {FORMAT}: use that of the agent's version"
        )
    return status
