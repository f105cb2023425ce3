"""``rainbowd``: the agent in the foreground.  Everything that can be refused is refused before anything is started.

It listens before it loads what is heavy, so that connections wait and are not refused meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.cli.terminal import complain
from rainbowd.config import cautions, load, refuse_foreign_state, refuse_misplaced, refuse_open_api, with_overrides
from rainbowd.listen import doubts, inherited, open_listeners, taken_over
from rainbowd.locations import find_config, lasting_path
from rainbowd.report.lock import Lock
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from rainbowd.config import Config
    from rainbowd.listen import Listener
    from rainbowd.renewal import Offer, Socket

RENEWAL = "RAINBOWD_RENEWAL"
"""In the environment of a program that an agent starts to be its successor: see ``renewal``."""


def run(config_path: Path | None, listen: list[str] | None, log_level: str | None, *, enable_api: bool = False) -> int:
    """Run the agent until it is told to stop.

    Args:
        config_path: of ``--config``; None looks in the working directory.
        listen: of ``--listen``; replaces the file's.
        log_level: of ``--log-level``; replaces the file's.
        enable_api: of ``--enable-api``.

    Raises:
        UsageError: the config, the addresses or the state directory cannot be used; nothing was started.
    """
    offer = _offer()
    if offer is None or offer.config is None:
        directory, file = _working_directory(), lasting_path(find_config(config_path))
    else:  # ours may be gone since that agent was started there
        directory, file = offer.directory, offer.config
    loaded = load(file)
    config = with_overrides(loaded.config, listen, log_level, enable_api=enable_api, directory=directory)
    refuse_open_api(config)
    warnings = [
        *loaded.warnings,
        *(f"{file}: {caution}" for caution in (*cautions(config), *_left_behind(config, directory))),
    ]
    os.chdir("/")  # or a release that we were started in could not be pruned without harm
    if not os.environ.get("LISTEN_FDS"):
        warnings += [f"{file}: {doubt}" for doubt in doubts(config.listen)]
    with contextlib.ExitStack() as stack:
        if offer is not None and config.state_dir != offer.state_dir:
            warnings.append(f"{file}: state_dir: stays {offer.state_dir} until a restart")
            config = config.model_copy(update={"state_dir": offer.state_dir})
            loaded = replace(loaded, config=loaded.config.model_copy(update={"state_dir": offer.state_dir}))
        refuse_misplaced(file, config)
        prepare(config.state_dir, is_searched=config.user is not None)
        refuse_foreign_state(file, config.state_dir)
        lock = Lock.acquire(config.state_dir, file) if offer is None else Lock(offer.lock_fd, config.state_dir, file)
        stack.callback(lock.release)
        offered = offer.sockets if offer is not None else []
        listeners = _listen(config, offered, stack)

        from rainbowd.cli.api import open_api
        from rainbowd.cli.serve import serve

        api = open_api(config, offered, stack) if config.api.enabled else None
        return serve(
            file,
            loaded,
            config,
            directory=directory,
            listeners=listeners,
            lock=lock,
            api=api,
            offer=offer,
            warnings=warnings,
        )


def _working_directory() -> Path:
    """Return where we are; where that was removed, a place that is as good for a config with an absolute path."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _left_behind(config: Config, directory: Path) -> list[str]:
    """Return a warning if we were started through a link, which a deploy may turn without any effect here."""
    shell = os.environ.get("PWD", "")
    link = next((one for one in (Path(shell), *Path(shell).parents) if one.is_symlink()), None)
    if link is None or os.path.realpath(shell) != str(directory) or config.release.is_symlink():
        return []
    release = os.path.realpath(config.release)
    if not Path(release).is_relative_to(os.path.realpath(link)):
        return []
    warning = f"release: found {release}, a directory, though the agent was started through the link {link}"
    return [f"{warning}: a turn of that link changes nothing; set release to {link} to deploy by it"]


def _offer() -> Offer | None:
    """What an agent that is renewed offers."""
    if RENEWAL not in os.environ:  # what it takes is heavy
        return None
    from rainbowd.parent import signal_at_parents_end

    signal_at_parents_end(signal.SIGKILL)  # until we are the agent: what we are offered holds the lock
    from rainbowd.renewal import receive_offer

    return receive_offer(os.environ)


def _listen(config: Config, offered: list[Socket], stack: contextlib.ExitStack) -> list[Listener]:
    """Every listener that there is to be: handed over by systemd, by the agent before us, or opened."""
    listeners = inherited(os.environ, os.getpid())
    shared = [one for one in offered if one.part == "proxy"]
    listeners += [taken_over(one.sock, None) for one in shared if one.asked is None]
    for address in config.listen if not listeners else ():
        asked = str(address)
        taken = [taken_over(one.sock, asked) for one in shared if one.asked == asked]
        opened = taken or open_listeners(address, report=complain)
        for listener in opened:
            stack.callback(listener.close)
        listeners += opened
    return listeners
