"""Notes what each attack tries, for the table; also in the processes of pytest-xdist."""

from __future__ import annotations

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Record the docstring of a test as what it tries."""
    documented = item.function.__doc__ if isinstance(item, pytest.Function) else None
    item.user_properties.append(("tried", documented or item.path.stem))
