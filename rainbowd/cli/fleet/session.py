"""One command's connection to the engine of its fleet."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from rainbowd.config import load, load_fleet
from rainbowd.config_paths import find_config
from rainbowd.errors import UsageError
from rainbowd.fleet import documents
from rainbowd.fleet.engine import PermissionDenied
from rainbowd.fleet.etcd import Etcd
from rainbowd.fleet.orders import Author

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rainbowd.config import FleetSettings
    from rainbowd.fleet.documents import Documents
    from rainbowd.fleet.engine import Engine


@dataclass(frozen=True)
class Session:
    """A command's view of its fleet.

    Attributes:
        settings: of the fleet.
        engine: which answers.
    """

    settings: FleetSettings
    engine: Engine

    async def read(self) -> Documents:
        """Return what the engine contains now.

        Raises:
            EngineError: it does not answer, or refuses.
            UnreadableDocument: another version has written it.
        """
        return documents.parse(await self.engine.snapshot())


def run(config_path: Path | None, fleet_path: Path | None, act: Callable[[Session], Awaitable[int]]) -> int:
    """Run a command with a connection to the engine.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        fleet_path: the value of ``--fleet``; None for the config's own fleet.
        act: the command.

    Returns:
        The exit status.

    Raises:
        RainbowdError: the config is invalid, or the engine does not answer.
    """
    settings = read_settings(config_path, fleet_path)

    async def connected() -> int:
        async with Etcd(settings) as engine:
            try:
                return await act(Session(settings, engine))
            except PermissionDenied as error:
                who = settings.user or "this user"
                hint = "deployers name a file with a user of their own: --fleet FILE"
                raise PermissionDenied(f"etcd refuses this to {who}: {error}; {hint}") from None

    try:
        return trio.run(connected)
    except BaseExceptionGroup as group:
        raise _cause(group) from None


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what ended a nursery: Ctrl-C, if it is among the reasons."""
    interrupts = group.subgroup(KeyboardInterrupt)
    first = (interrupts or group).exceptions[0]
    return _cause(first) if isinstance(first, BaseExceptionGroup) else first


def read_settings(config_path: Path | None, fleet_path: Path | None) -> FleetSettings:
    """Return the settings of the fleet.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        fleet_path: the value of ``--fleet``; None for the config's own fleet.

    Raises:
        ConfigError: the file is invalid.
        UsageError: the config has no fleet.
    """
    if fleet_path is not None:
        return load_fleet(fleet_path)
    file = find_config(config_path)
    settings = load(file).config.fleet
    if settings is None:
        raise UsageError(f"{file}: fleet: found nothing; expected an object, or the option --fleet FILE")
    return settings


def author(note: str | None) -> Author:
    """Return who runs this command, with their ``note``, and the present time."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Author(f"{user}@{socket.gethostname()}", note or None, now)
