"""``status.json``: the current state of the agent and its generations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rainbowd.errors import RainbowdError
from rainbowd.report.reserved_file import ReservedFile
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "status.json"
FORMAT = 1
"""The version of the format, which is increased when an older reader could misread the file."""

Status = dict[str, object]


def write(state_dir: Path, status: Mapping[str, object]) -> None:
    """Replace the file atomically, even on a full disk; it need not survive a power failure.

    Args:
        state_dir: the directory of the file.
        status: the content.

    Raises:
        OSError: the file cannot be written; it keeps its old content.
    """
    text = json.dumps({"format": FORMAT, **status}, default=str)
    ReservedFile(state_dir / NAME).replace(text.encode() + b"\n")


def read(state_dir: Path) -> Status | None:
    """Read the file, whether the agent that wrote it is alive or not.

    Args:
        state_dir: the directory of the file.

    Returns:
        The status; None if the file does not exist.

    Raises:
        RainbowdError: the file cannot be read, is damaged, or has a format that this version does not know.
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
        raise RainbowdError(f"{path}: damaged; expected JSON that an agent has written") from None
    if not isinstance(status, dict):
        raise RainbowdError(f"{path}: damaged; expected an object")
    if status.get("format") != FORMAT:
        found = json.dumps(status.get("format"))
        raise RainbowdError(
            f"{path}: found format {found}; this version of rainbowd reads {FORMAT}; use the version that the agent has"
        )
    return status
