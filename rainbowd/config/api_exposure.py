"""The check that an enabled API is open only to people who can deploy anyway, or to those who have a chosen token."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import UnixAddress
from rainbowd.config.runtime_dir import find_runtime_dir
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.config.models import Config


def check_api_exposure(config: Config) -> None:
    """Raise an error if the enabled API's token could leak, or other machines can reach it without a token file.

    Raises:
        ConfigError: with every problem, a line each.
    """
    problems = exposure_problems(config)
    if problems:
        raise ConfigError(*problems)


def exposure_problems(config: Config) -> list[str]:
    """Return the reasons why the enabled API would be open to others, a line each; none if it is off."""
    if not config.api.enabled:
        return []
    token_file, found = config.api.token_file, []
    if token_file is None and not _is_local(config.api.listen):
        found.append(
            f"api.listen: found {config.api.listen}, which other machines can reach; "
            "expected a loopback address such as 127.0.0.1:7001, or an api.token_file"
        )
    if token_file is None and token_directory(config) is None:
        found.append(
            f"state_dir: found {config.state_dir} inside the release {config.release}, which the app could publish "
            "together with the API's token; expected another state_dir, or an api.token_file elsewhere"
        )
    if token_file is not None and is_published(token_file, config):
        found.append(
            f"api.token_file: found {token_file} inside the release {config.release}, which the app could publish; "
            "expected a file elsewhere"
        )
    return found


def token_directory(config: Config) -> Path | None:
    """Return the directory in which the agent creates the API's token.

    Args:
        config: without an ``api.token_file``.

    Returns:
        The state directory; if the app could publish that, the runtime directory; None if it could publish both.
    """
    if not is_published(config.state_dir, config):
        return config.state_dir
    found = find_runtime_dir(config.state_dir, os.environ)
    return None if found is None or is_published(found, config) else found


def is_published(path: Path, config: Config) -> bool:
    """Return whether ``path`` is inside the release: an app that serves its own directory would publish it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(config.release))


def _is_local(address: Address) -> bool:
    if isinstance(address, UnixAddress) or address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:  # a name, which can resolve to any address
        return False
