"""The translation of a socket's errors."""

from __future__ import annotations

import pytest

from rainbowd.proxy.failures import AppBroke, ClientGone, OSErrorAs


def test_an_error_of_a_socket_becomes_the_failure_without_a_chain() -> None:
    with (
        pytest.raises(AppBroke, match="the connection was reset") as caught,
        OSErrorAs(AppBroke, "the connection was reset"),
    ):
        raise ConnectionResetError
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_another_exception_passes_unchanged() -> None:
    with pytest.raises(ZeroDivisionError), OSErrorAs(ClientGone):
        raise ZeroDivisionError
