"""``rainbowd``: the agent in the foreground.  Everything that can be refused is refused before anything is started."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd import log
from rainbowd.agent import HEEDED, Agent
from rainbowd.cli.api import open_api
from rainbowd.config import cautions, load, refuse_open_api, with_overrides
from rainbowd.deploy.foreign import refuse_foreign_files
from rainbowd.deploy.process import become_subreaper, reset_signals
from rainbowd.deploy.world import Machine
from rainbowd.locations import find_config
from rainbowd.proxy import inherited, open_listener, taken_over
from rainbowd.renewal import Incoming, receive_offer
from rainbowd.report.numbers import Numbers
from rainbowd.report.recorder import Recorder
from rainbowd.report.state_dir import Lock, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config, Loaded
    from rainbowd.control.api import Api
    from rainbowd.proxy import Listener
    from rainbowd.renewal import Socket
    from rainbowd.roster import Roster

FLUSH_SECONDS = 1.0


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
    offer = receive_offer(os.environ)
    file = find_config(config_path).absolute()
    loaded = load(file)
    refuse_foreign_files(file, loaded.config)
    config = with_overrides(loaded.config, listen, log_level, enable_api=enable_api)
    refuse_open_api(config)
    warnings = [*loaded.warnings, *(f"{file}: {caution}" for caution in cautions(config))]
    with contextlib.ExitStack() as stack:
        if offer is not None and config.state_dir != offer.state_dir:
            warnings.append(f"{file}: state_dir: stays {offer.state_dir} until a restart")
            config = config.model_copy(update={"state_dir": offer.state_dir})
            loaded = replace(loaded, config=loaded.config.model_copy(update={"state_dir": offer.state_dir}))
        prepare(config.state_dir, is_searched=config.user is not None)
        lock = Lock.acquire(config.state_dir) if offer is None else Lock(offer.lock_fd)
        stack.callback(lock.release)
        offered = offer.sockets if offer is not None else []
        listeners = _listen(config, offered, stack)
        api = open_api(config, offered, stack) if config.api.enabled else None
        log.configure(config.log.level, config.log.format)
        stack.callback(log.flush, FLUSH_SECONDS)
        for warning in warnings:
            log.get_logger().warning(warning)
        incoming = None if offer is None else partial(Incoming, offer, offer.accept())
        return _serve(
            file,
            loaded,
            config,
            listeners=listeners,
            lock=lock,
            api=api,
            soft_limit=_raise_descriptor_limit() if offer is None else offer.soft_limit,
            incoming=incoming,
        )


def _listen(config: Config, offered: list[Socket], stack: contextlib.ExitStack) -> list[Listener]:
    """Every listener that there is to be: handed over by systemd, by the agent before us, or opened."""
    listeners = inherited(os.environ, os.getpid())
    by_address = {one.asked: one.sock for one in offered if one.part == "proxy"}
    listeners += [taken_over(one.sock, None) for one in offered if one.part == "proxy" and one.asked is None]
    for address in config.listen if not listeners else ():
        sock = by_address.get(str(address))
        listeners.append(open_listener(address) if sock is None else taken_over(sock, str(address)))
        stack.callback(listeners[-1].close)
    return listeners


def _serve(
    file: Path,
    loaded: Loaded,
    config: Config,
    *,
    listeners: list[Listener],
    lock: Lock,
    api: tuple[Api, Listener] | None,
    soft_limit: int,
    incoming: Callable[[Roster], Incoming] | None,
) -> int:
    """The part that starts things."""
    reset_signals()
    become_subreaper()
    recorder = Recorder(config.state_dir)
    machine = Machine(
        file,
        loaded,
        keep=recorder.keep,
        soft_limit=soft_limit,
        numbers=Numbers(config.state_dir),
        app_sink=log.open_app_sink(config.log.app),
    )
    early: list[int] = []
    for signum in HEEDED:  # until the agent heeds them, and from its end on
        signal.signal(signum, lambda signum, _frame: early.append(signum))
    agent = Agent(
        config,
        machine,
        recorder,
        listeners,
        lock,
        base=file.parent,
        early=early,
        api=api,
        incoming=incoming,
        soft_limit=soft_limit,
    )
    try:
        trio.run(agent.run)
    except Exception as bug:  # noqa: BLE001 - all children are reaped by now; say it where everything is said
        log.get_logger().error("bug: the agent ended", exc_info=bug)
        return 1
    finally:
        for signum in HEEDED:  # Python gives them their default back while it ends: a second TERM is no other end
            signal.signal(signum, signal.SIG_IGN)
    return 0


def _raise_descriptor_limit() -> int:
    """Allow ourselves all descriptors that we may have; the soft limit before, which the apps are to have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # not allowed after all: go on with fewer
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
