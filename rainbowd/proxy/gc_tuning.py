"""Settings of the garbage collector that suit a proxy."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_YOUNG_MAX = 50_000
"""The number of objects by which allocations must exceed deallocations before a collection."""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Enable the garbage collector, with rare collections that skip all existing objects.

    Reference counting frees a request's objects when the request ends. By default, the collector searches for cycles
    whenever the number of objects has grown by 700. With hundreds of requests in flight it would run all the time and
    find nothing.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, *thresholds[1:])
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
