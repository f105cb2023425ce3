"""The ways in which an exchange fails, other than by a refusal, and the errors of sockets that become one of them."""

from __future__ import annotations

from typing import TypeVar

Error = TypeVar("Error", bound=Exception)


class ClientGone(Exception):
    """The client closed its connection."""


class AppBroke(Exception):
    """The app broke its response off; the message says how."""


class AppStoppedReading(Exception):
    """The app stopped reading the request."""


class OSErrorAs:
    """A ``with`` block that replaces an ``OSError`` by an exception of ``kind``.

    It is a class, because a generator's frame would keep the error and the request in a reference cycle.

    Args:
        kind: the class of the exception.
        args: its arguments.
    """

    __slots__ = ("_args", "_kind")

    def __init__(self, kind: type[Exception], *args: str) -> None:
        self._kind = kind
        self._args = args

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, OSError):
            raise self._kind(*self._args) from None


def detach(error: Error) -> Error:
    """Return an error to keep, without its traceback and the error before it.

    Their frames refer to the frame that keeps the error: a cycle, in which the whole request would stay until the
    garbage collector runs.

    Args:
        error: that was caught.
    """
    error.__context__ = None
    return error.with_traceback(None)
