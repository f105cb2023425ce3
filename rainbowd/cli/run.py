"""``rainbowd``: the agent in the foreground.  Everything that can be refused is refused before anything is started."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
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
from rainbowd.proxy import inherited, open_listener
from rainbowd.report.numbers import Numbers
from rainbowd.report.recorder import Recorder
from rainbowd.report.state_dir import Lock, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config import Config, Loaded
    from rainbowd.control.api import Api
    from rainbowd.proxy import Listener

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
    file = find_config(config_path).absolute()
    loaded = load(file)
    refuse_foreign_files(file, loaded.config)
    config = with_overrides(loaded.config, listen, log_level, enable_api=enable_api)
    refuse_open_api(config)
    with contextlib.ExitStack() as stack:
        prepare(config.state_dir, is_searched=config.user is not None)
        stack.callback(Lock.acquire(config.state_dir).release)
        listeners = inherited(os.environ, os.getpid())
        for address in config.listen if not listeners else ():
            listeners.append(open_listener(address))
            stack.callback(listeners[-1].close)
        api = open_api(config, stack) if config.api.enabled else None
        log.configure(config.log.level, config.log.format)
        stack.callback(log.flush, FLUSH_SECONDS)
        for warning in (*loaded.warnings, *(f"{file}: {caution}" for caution in cautions(config))):
            log.get_logger().warning(warning)
        return _serve(file, loaded, config, listeners, api)


def _serve(file: Path, loaded: Loaded, config: Config, listeners: list[Listener], api: Api | None) -> int:
    """The part that starts things."""
    reset_signals()
    become_subreaper()
    recorder = Recorder(config.state_dir)
    machine = Machine(
        file,
        loaded,
        keep=recorder.keep,
        soft_limit=_raise_descriptor_limit(),
        numbers=Numbers(config.state_dir),
        app_sink=log.open_app_sink(config.log.app),
    )
    early: list[int] = []
    for signum in HEEDED:  # until the agent heeds them, and from its end on
        signal.signal(signum, lambda signum, _frame: early.append(signum))
    try:
        agent = Agent(config, machine, recorder, listeners, early, base=file.parent, api=api)
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
