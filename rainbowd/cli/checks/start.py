"""The checks of a start: the state directory, the app's log file, and the addresses to listen on.

A start creates these; ``check`` only tests whether it could.  If an agent is running with this config, nothing is
checked.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd import tcp_ports
from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.config import user_name
from rainbowd.config.write_access import app_log_problems, is_directory, nearest, not_writable
from rainbowd.deploy.watch.maintenance_files import PAGE_STATUSES
from rainbowd.errors import UsageError
from rainbowd.listeners import ephemeral_port_warnings
from rainbowd.report.lock import holder

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.cli.checks.findings import Findings
    from rainbowd.config import Config

_CONNECT_SECONDS = 1.0


def check_start(config: Config, found: Findings) -> None:
    """Check what a start creates or opens, and add to ``found``."""
    found.problems += _not_a_directory(config.state_dir)
    found.warnings += ephemeral_port_warnings(config.listen)
    found.warnings += _no_error_pages(config.error_pages)
    try:
        agent = holder(config.state_dir)
    except UsageError as error:
        found.notes.append(f"state_dir: {error}; a start by its owner could not be checked")
        return
    if agent is not None:
        found.notes.append(f"an agent runs with this config, pid {agent}")
        return
    owner = _owner(config.state_dir)
    if owner not in {None, os.geteuid()} and os.geteuid() != 0:
        found.notes.append(f"state_dir: is {user_name(owner)}'s; run this as that user to check a start")
        return
    if not found.problems:
        found.problems += not_writable("state_dir", config.state_dir, "a directory that the agent's user may write to")
    if isinstance(config.log.app, Path):
        found.problems += app_log_problems(config.log.app)
    for address in config.listen:
        _check_address("listen", address, found)
    if config.api.enabled:
        _check_address("api.listen", config.api.listen, found)


def _not_a_directory(state_dir: Path) -> list[str]:
    there = nearest(state_dir)
    return [] if is_directory(there) else [f"state_dir: found {there}, which is not a directory; expected one"]


def _no_error_pages(directory: Path | None) -> list[str]:
    """Return a warning if a directory has no page, because its name may be wrong."""
    names = [f"{status}.html" for status in PAGE_STATUSES]
    if directory is None or any((directory / name).is_file() for name in names):
        return []
    return [f"error_pages: found none of {', '.join(names)} in {directory}; expected at least one"]


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _check_address(key: str, address: Address, found: Findings) -> None:
    if isinstance(address, UnixAddress):
        found.problems += [f"{key}: {problem}" for problem in _unix_problems(address.path)]
        return
    try:
        places = tcp_ports.resolve(address.host, address.port)
    except OSError as error:
        found.problems.append(f"{key}: cannot listen on {address}: {error.strerror}")
        return
    absent = []
    for family, place in places:
        try:
            tcp_ports.bind(family, place).close()
        except OSError as error:
            problem = f"{key}: cannot listen on {place}: {tcp_ports.explain(error, place)}"
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                absent.append(problem)
            elif _is_passing(error, place):
                found.warnings.append(f"{problem} (a start waits some seconds for it)")
            else:
                found.problems.append(problem)
    if len(absent) == len(places):
        found.problems += absent


def _is_passing(error: OSError, place: TcpAddress) -> bool:
    return error.errno == errno.EADDRINUSE and tcp_ports.is_listened_on(place) is False


def _unix_problems(path: Path) -> list[str]:
    if not is_directory(path.parent):
        return [f"cannot listen on unix:{path}: found no directory {path.parent}; expected one"]
    problems = not_writable("", path.parent, "a directory that the agent's user may write to")
    with suppress(OSError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            problems.append(f": found {path}, which is not a socket; expected no file, or an unused socket")
        elif _is_served(path):
            problems.append(": another program listens there already")
    return [f"cannot listen on unix:{path}{problem}" for problem in problems]


def _is_served(path: Path) -> bool:
    with ExitStack() as stack:
        probe = stack.enter_context(socket.socket(socket.AF_UNIX))
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
