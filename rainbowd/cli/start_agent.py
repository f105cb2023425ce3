"""The second part of a start, after the listeners are open: load the large modules and run the agent."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd import log
from rainbowd.agent import HANDLED_SIGNALS, Agent, StateDirGuard
from rainbowd.deploy.host.hook_permissions import check_file_permissions
from rainbowd.deploy.host.host import LinuxHost
from rainbowd.deploy.process import protect_agent, reset_signals, survivors
from rainbowd.hangup import Hangup
from rainbowd.prctl import become_subreaper
from rainbowd.report.generation_ids import GenerationIds
from rainbowd.report.recorder import Recorder
from rainbowd.upgrade import ReplacedAgent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rainbowd.api.service import ApiService
    from rainbowd.config import Config, LoadedConfig
    from rainbowd.listeners import Listener
    from rainbowd.report.lock import Lock
    from rainbowd.upgrade import Offer

FLUSH_SECONDS = 1.0
_M_ARENA_MAX = -8


def start_agent(
    file: Path,
    loaded: LoadedConfig,
    config: Config,
    *,
    directory: Path,
    listeners: list[Listener],
    lock: Lock,
    api: tuple[ApiService, Listener] | None,
    offer: Offer | None,
    warnings: Iterable[str],
) -> int:
    """Run the agent until a signal stops it.

    Args:
        file: the config file.
        loaded: what it says.
        config: the same, with what the command line says instead.
        directory: where the agent was started, for the program of its successor.
        listeners: of the proxy.
        lock: of the state directory.
        api: where it is enabled, with its listener.
        offer: of the agent that we take the place of.
        warnings: of the start.

    Returns:
        The exit status.

    Raises:
        UsageError: a program that we would start is not to be trusted, or that agent has gone.
    """
    check_file_permissions(file, loaded.config)
    log.configure(config.log.level, config.log.format)
    try:
        for warning in warnings:
            log.get_logger().warning(warning)
        soft_limit = _raise_descriptor_limit() if offer is None else offer.soft_limit
        old_agent = None if offer is None else partial(ReplacedAgent, offer, offer.accept())
        hangup = Hangup.now()
        early = _prepare_process()
        recorder = Recorder(config.state_dir)
        machine = LinuxHost(
            file,
            loaded,
            keep=recorder.store,
            soft_limit=soft_limit,
            numbers=GenerationIds(config.state_dir),
            app_sink=log.open_app_sink(config.log.app),
        )
        agent = Agent(
            config,
            machine,
            recorder,
            listeners,
            lock,
            base=file.parent,
            early_signals=early,
            api=api,
            old_agent=old_agent,
            soft_limit=soft_limit,
            hangup=hangup,
            directory=directory,
            guard=StateDirGuard(
                lock,
                config.state_dir,
                is_searched=config.user is not None,
                rewrite=machine.write_again,
            ),
        )
        return _run(agent)
    finally:
        log.flush(FLUSH_SECONDS)


def _prepare_process() -> list[int]:
    """Have this process own apps; returns where signals are kept until the agent heeds them, and from its end on."""
    reset_signals()
    become_subreaper()
    protect_agent()
    _share_one_heap()
    early: list[int] = []
    for signum in HANDLED_SIGNALS:
        signal.signal(signum, lambda signum, _frame: early.append(signum))
    return early


def _run(agent: Agent) -> int:
    try:
        trio.run(agent.run)
    except Exception as bug:  # noqa: BLE001 - all children are reaped by now; say it where everything is said
        log.get_logger().error("bug: the agent ended", exc_info=bug)
        return 1
    finally:
        for signum in HANDLED_SIGNALS:  # else Python restores their defaults, and a second TERM changes the exit status
            signal.signal(signum, signal.SIG_IGN)
    return 1 if survivors() else 0


def _share_one_heap() -> None:
    """Have all threads allocate from one heap: one for each holds several MiB that nobody needs (mallopt(3))."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _raise_descriptor_limit() -> int:
    """Allow ourselves all descriptors that we may have; the soft limit before, which the apps are to have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # not allowed after all: go on with fewer
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
