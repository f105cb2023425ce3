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
from rainbowd.agent import HANDLED_SIGNALS, Agent, AgentListeners, AgentStart, StateDirGuard
from rainbowd.deploy.host.hook_permissions import check_file_permissions
from rainbowd.deploy.host.host import LinuxHost
from rainbowd.deploy.process import protect_agent, reset_signals, survivors
from rainbowd.prctl import become_subreaper
from rainbowd.report.generation_ids import GenerationIds
from rainbowd.report.recorder import Recorder
from rainbowd.sighup import Hangup
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
    listeners: list[Listener],
    lock: Lock,
    *,
    api: tuple[ApiService, Listener] | None,
    directory: Path,
    offer: Offer | None,
    warnings: Iterable[str],
) -> int:
    """Run the agent until a signal stops it.

    Args:
        file: the config file.
        loaded: the content of the file.
        config: the same config, with the options of the command line.
        listeners: the listening sockets of the proxy.
        lock: the lock of the state directory.
        api: the API and its listener; None if it is disabled.
        directory: the directory that the agent was started in, in which an upgrade starts the new agent.
        offer: the offer of the old agent in an upgrade; None in any other start.
        warnings: warnings to log, a line each.

    Returns:
        The exit status; 1 if processes of an app could not be killed, or because of a bug.

    Raises:
        UsageError: other accounts can change a program that this agent would start, or the old agent has ended.
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
        host = LinuxHost(
            file,
            loaded,
            store=recorder.store,
            soft_limit=soft_limit,
            generation_ids=GenerationIds(config.state_dir),
            app_sink=log.open_app_sink(config.log.app),
        )
        rewrite = [host.store_again] if api is None else [host.store_again, api[0].store_again]
        is_searched = config.user is not None
        start = AgentStart(
            base=file.parent,
            directory=directory,
            soft_limit=soft_limit,
            hangup=hangup,
            early_signals=early,
            old_agent=old_agent,
            guard=StateDirGuard(lock, config.state_dir, is_searched=is_searched, rewrite=rewrite),
        )
        agent = Agent(config, host, recorder, lock, listeners=AgentListeners(listeners, api), start=start)
        return _run(agent)
    finally:
        log.flush(FLUSH_SECONDS)


def _prepare_process() -> list[int]:
    """Prepare this process to own the processes of an app.

    Returns:
        A list of the signals that arrive before the agent handles signals, or after it has ended.
    """
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
    except Exception as bug:  # noqa: BLE001 - all children are reaped, and the log is the place for errors
        log.get_logger().error("bug: the agent ended", exc_info=bug)
        return 1
    finally:
        for signum in HANDLED_SIGNALS:  # otherwise a second TERM during the exit would change the exit status
            signal.signal(signum, signal.SIG_IGN)
    return 1 if survivors() else 0


def _share_one_heap() -> None:
    """Let all threads allocate from one heap: a heap for each would keep several unused MiB (mallopt(3))."""
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of file descriptors to the hard one; return the soft limit before, which apps inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # keep the lower limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
