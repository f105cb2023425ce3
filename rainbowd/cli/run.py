"""``rainbowd``: run the agent in the foreground.  Every check is made before anything is started.

The agent listens before it loads the large modules, so that connections wait meanwhile and are not refused.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.cli.terminal import print_error
from rainbowd.config import cautions, check_api_exposure, check_paths, check_state_dir, load, with_overrides
from rainbowd.config.write_access import check_app_log
from rainbowd.config_paths import find_config, lasting_path
from rainbowd.listeners import UPGRADE_VARIABLE, ephemeral_port_warnings, from_predecessor, from_systemd, open_listeners
from rainbowd.report.lock import Lock
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from rainbowd.config import Config
    from rainbowd.listeners import Listener
    from rainbowd.upgrade import Offer, OfferedSocket


def run(config_path: Path | None, listen: list[str] | None, log_level: str | None, *, enable_api: bool = False) -> int:
    """Run the agent until a signal stops it.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        listen: the values of ``--listen``, instead of those in the config.
        log_level: the value of ``--log-level``, instead of the one in the config.
        enable_api: whether ``--enable-api`` was given.

    Raises:
        UsageError: the config, the addresses or the state directory cannot be used; nothing was started.
    """
    offer = _offer()
    if offer is None or offer.config is None:
        directory, file = _working_directory(), lasting_path(find_config(config_path))
    else:  # the old agent's directory, which may have been removed since its start
        directory, file = offer.directory, offer.config
    loaded = load(file)
    config = with_overrides(loaded.config, listen, log_level, enable_api=enable_api, directory=directory)
    check_api_exposure(config)
    warnings = [*loaded.warnings, *(f"{file}: {caution}" for caution in _cautions(config, directory))]
    os.chdir("/")  # otherwise removing an old release could remove our working directory
    with contextlib.ExitStack() as stack:
        if offer is not None and config.state_dir != offer.state_dir:
            warnings.append(f"{file}: state_dir: stays {offer.state_dir} until a restart")
            config = config.model_copy(update={"state_dir": offer.state_dir})
            loaded = replace(loaded, config=loaded.config.model_copy(update={"state_dir": offer.state_dir}))
        lock = _lock(file, config, offer)
        stack.callback(lock.release)
        offered = offer.sockets if offer is not None else []
        listeners = _listen(config, offered, stack)

        from rainbowd.cli.start_agent import start_agent
        from rainbowd.cli.start_api import open_api

        api = open_api(config, offered, stack) if config.api.enabled else None
        return start_agent(
            file, loaded, config, listeners, lock, api=api, directory=directory, offer=offer, warnings=warnings
        )


def _lock(file: Path, config: Config, offer: Offer | None) -> Lock:
    """Check and prepare the state directory, and return its lock, which the old agent of an upgrade hands over."""
    check_paths(file, config)
    check_app_log(file, config.log.app)
    prepare(config.state_dir, is_searched=config.user is not None)
    check_state_dir(file, config.state_dir)
    return Lock.acquire(config.state_dir, file) if offer is None else Lock(offer.lock_fd, config.state_dir, file)


def _cautions(config: Config, directory: Path) -> list[str]:
    """Return warnings about what is allowed, but likely a mistake; ``directory`` is where the agent was started."""
    doubts = [] if os.environ.get("LISTEN_FDS") else ephemeral_port_warnings(config.listen)
    return [*cautions(config), *_warn_of_link(config, directory), *doubts]


def _working_directory() -> Path:
    """Return the working directory; if it was removed, ``/``, which is enough for a config with an absolute path."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _warn_of_link(config: Config, directory: Path) -> list[str]:
    """Return a warning if this was started through a symlink whose switch would not deploy anything."""
    shell = os.environ.get("PWD", "")
    link = next((path for path in (Path(shell), *Path(shell).parents) if path.is_symlink()), None)
    if link is None or os.path.realpath(shell) != str(directory) or config.release.is_symlink():
        return []
    release = os.path.realpath(config.release)
    if not Path(release).is_relative_to(os.path.realpath(link)):
        return []
    warning = f"release: found {release}, a directory, though the agent was started through the link {link}"
    return [f"{warning}: switching that link deploys nothing; set release to {link} to deploy by it"]


def _offer() -> Offer | None:
    """Return the offer of the old agent in an upgrade; None in any other start."""
    if UPGRADE_VARIABLE not in os.environ:  # the import below is slow
        return None
    from rainbowd.prctl import set_pdeathsig

    set_pdeathsig(signal.SIGKILL)  # until we are the agent: the offered descriptors keep the lock
    from rainbowd.upgrade import receive_offer

    return receive_offer(os.environ)


def _listen(config: Config, offered: list[OfferedSocket], stack: contextlib.ExitStack) -> list[Listener]:
    """Return all listeners: from systemd, from the old agent, or newly opened."""
    listeners = from_systemd(os.environ, os.getpid())
    shared = [socket for socket in offered if socket.part == "proxy"]
    listeners += [from_predecessor(socket.sock, None) for socket in shared if socket.asked is None]
    for address in config.listen if not listeners else ():
        text = str(address)
        taken = [from_predecessor(socket.sock, text) for socket in shared if socket.asked == text]
        opened = taken or open_listeners(address, report=print_error)
        for listener in opened:
            stack.callback(listener.close)
        listeners += opened
    return listeners
