"""Whether the proxy that is installed is compiled: see ``hatch_build.py``."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_MODULE = Path(__file__).with_name("proxy") / "exchange"
"""One of the compiled modules; all or none are compiled."""


def is_compiled() -> bool:
    """Return whether this Python imports the compiled modules of the proxy; imports none itself."""
    return any(Path(f"{_MODULE}{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)
