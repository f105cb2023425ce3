"""Where an enabled API would be open to others than the deployers."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import UnixAddress
from rainbowd.config.runtime import secret_directory
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.config.models import Config


def check_api_exposure(config: Config) -> None:
    """Refuse an API that is enabled where its token could be had, or where none was chosen for the world.

    Raises:
        ConfigError: with every problem, a line each.
    """
    problems = exposures(config)
    if problems:
        raise ConfigError(*problems)


def exposures(config: Config) -> list[str]:
    """Why an enabled API is refused, a line each."""
    if not config.api.enabled:
        return []
    token_file, found = config.api.token_file, []
    if token_file is None and not _is_local(config.api.listen):
        found.append(
            f"api.listen: found {config.api.listen}, which other machines may reach; "
            "expected a loopback address such as 127.0.0.1:7001, or an api.token_file"
        )
    if token_file is None and token_directory(config) is None:
        found.append(
            f"state_dir: found {config.state_dir} inside the release {config.release}, which the app may publish, "
            "and the API's token with it; expected another state_dir, or an api.token_file elsewhere"
        )
    if token_file is not None and is_published(token_file, config):
        found.append(
            f"api.token_file: found {token_file} inside the release {config.release}, which the app may publish; "
            "expected a file elsewhere"
        )
    return found


def token_directory(config: Config) -> Path | None:
    """Return where the agent makes the API's token: the state directory, or one that no app publishes; None if none is.

    Args:
        config: without an ``api.token_file``.
    """
    if not is_published(config.state_dir, config):
        return config.state_dir
    found = secret_directory(config.state_dir, os.environ)
    return None if found is None or is_published(found, config) else found


def is_published(path: Path, config: Config) -> bool:
    """Whether ``path`` lies inside the release, as an app that serves its own directory would publish it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(config.release))


def _is_local(address: Address) -> bool:
    if isinstance(address, UnixAddress) or address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:  # a name, which may lead anywhere
        return False
