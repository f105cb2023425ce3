"""What a start does for an API that is enabled: see that it is installed, listen, and have a token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rainbowd.errors import UsageError
from rainbowd.proxy import open_listener

if TYPE_CHECKING:
    import contextlib

    from rainbowd.config import Config
    from rainbowd.control.api import Api

SOCKET_MODE = 0o600
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


def open_api(config: Config, stack: contextlib.ExitStack) -> Api:
    """The API, with its socket open until ``stack`` ends.

    Raises:
        UsageError: it is not installed, cannot listen, or has no token that can be used.
    """
    need_api()
    from rainbowd.control.api import Api
    from rainbowd.control.token import find_token

    token = find_token(config.state_dir, config.api.token_file)
    listener = open_listener(config.api.listen, key="api.listen", socket_mode=SOCKET_MODE)
    stack.callback(listener.close)
    return Api(listener.sock, listener.address, token)
