"""The garbage collector, told what a proxy's objects are like."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_YOUNG_MAX = 50_000
"""So many more objects than were freed, and the collector looks at them."""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Have the collector, which a start turns off, look seldom, and never at what is there already.

    A request's objects are freed by their reference counts when it ends, while it looks, after each 700 by which they
    grow, for cycles among them.  With hundreds of requests under way that is all the time, and in vain.
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
