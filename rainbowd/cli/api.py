"""What a start does for an API that is enabled: see that it is installed, listen, and have a token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rainbowd.errors import UsageError
from rainbowd.listen import open_listener, taken_over

if TYPE_CHECKING:
    import contextlib

    from rainbowd.config import Config
    from rainbowd.control.api import Api
    from rainbowd.listen import Listener
    from rainbowd.renewal import Socket

SOCKET_MODE = 0o600
BACKLOG = 128
"""Connections that wait are taken at a hundred a second: a flood is over soon after its end."""
PACKAGES = ("hypercorn[trio]", "prometheus_client", "starlette")
"""The extra ``api``."""


def need_api() -> None:
    """See that what the API needs is installed.

    Raises:
        UsageError: it is not; the message has the line to type.
    """
    try:
        import rainbowd.control.api  # noqa: F401
    except ModuleNotFoundError as error:
        words = " ".join(f"'{package}'" for package in PACKAGES)
        raise UsageError(
            f"the API is enabled, and needs {error.name}, which is not installed; type\n"
            f"{sys.executable} -m pip install {words}"
        ) from None


def open_api(config: Config, offered: list[Socket], stack: contextlib.ExitStack) -> tuple[Api, Listener]:
    """The API, with its socket open until ``stack`` ends.

    Args:
        config: with where it listens.
        offered: what an agent that is renewed hands over.
        stack: closes the socket.

    Raises:
        UsageError: it is not installed, cannot listen, or has no token that can be used.
    """
    need_api()
    from rainbowd.control.api import Api
    from rainbowd.control.token import find_token

    token = find_token(config.state_dir, config.api.token_file)
    asked = str(config.api.listen)
    sock = next((one.sock for one in offered if (one.part, one.asked) == ("api", asked)), None)
    if sock is None:
        listener = open_listener(config.api.listen, key="api.listen", socket_mode=SOCKET_MODE, backlog=BACKLOG)
    else:
        listener = taken_over(sock, asked)
    stack.callback(listener.close)
    return Api(listener.sock, listener.address, token), listener
