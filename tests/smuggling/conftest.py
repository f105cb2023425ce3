"""Nothing that happens in these tests may be a bug."""

from tests.proxy.conftest import lines

__all__ = ["lines"]
