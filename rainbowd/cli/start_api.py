"""The start of the API, if it is enabled: check its packages, listen, and find the token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rainbowd.config import token_directory
from rainbowd.config.runtime_dir import make_private
from rainbowd.errors import UsageError
from rainbowd.listeners import from_predecessor, open_listener

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

    from rainbowd.api.service import ApiService
    from rainbowd.config import Config
    from rainbowd.listeners import Listener
    from rainbowd.upgrade import OfferedSocket

SOCKET_MODE = 0o600
BACKLOG = 128
"""The length of the queue: a hundred connections are accepted a second, so it is empty a second after a flood."""
PACKAGES = ("hypercorn[trio]>=0.17,<0.19", "prometheus_client>=0.21", "starlette>=0.49.1")
"""The packages of the extra ``api``, with its bounds."""


def require_api_packages() -> None:
    """Check that the packages of the API are installed.

    Raises:
        UsageError: a package is missing; the message contains the command to install it.
    """
    try:
        import rainbowd.api.service  # noqa: F401
    except ModuleNotFoundError as error:
        packages = " ".join(f"'{package}'" for package in PACKAGES)
        raise UsageError(
            f"the API is enabled, and needs {error.name}, which is not installed; run\n"
            f"{sys.executable} -m pip install {packages}"
        ) from None


def open_api(config: Config, offered: list[OfferedSocket], stack: contextlib.ExitStack) -> tuple[ApiService, Listener]:
    """Return the API and its listener, which is open until ``stack`` ends.

    Args:
        config: the config, which contains the address.
        offered: the sockets that the old agent hands over in an upgrade.
        stack: closes the socket.

    Raises:
        UsageError: a package is missing, the address cannot be used, or no token can be read or made.
    """
    require_api_packages()
    from rainbowd.api.service import ApiService
    from rainbowd.api.token import find_token

    token = find_token(_token_directory(config), config.api.token_file)
    address = str(config.api.listen)
    sock = next((socket.sock for socket in offered if (socket.part, socket.asked) == ("api", address)), None)
    if sock is None:
        listener = open_listener(config.api.listen, key="api.listen", socket_mode=SOCKET_MODE, backlog=BACKLOG)
    else:
        listener = from_predecessor(sock, address)
    stack.callback(listener.close)
    return ApiService(listener.sock, listener.address, token), listener


def _token_directory(config: Config) -> Path:
    """Return the directory of the token, after creating it.

    Raises:
        UsageError: the directory cannot be made private to this user.
    """
    directory = token_directory(config)
    if directory is None or directory == config.state_dir:
        return config.state_dir
    try:
        make_private(directory)
    except OSError as error:
        raise UsageError(f"api: {directory}: cannot be created: {error.strerror}; expected an api.token_file") from None
    return directory
