"""The functions that the command line calls.  Each imports its command only when it is called."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Run the agent in the foreground."""
    gc.disable()  # until the proxy serves: no loaded module is garbage, and collecting takes a tenth of the start
    from rainbowd.cli import run as command

    return command.run(options.config, options.listen, options.log_level, enable_api=options.enable_api)


def check(options: argparse.Namespace) -> int:
    """Run ``rainbowd check``."""
    from rainbowd.cli import check as command

    return command.check(options.config, is_verbose=options.is_verbose)


def init(options: argparse.Namespace) -> int:
    """Run ``rainbowd init``."""
    from rainbowd.cli import init as command

    return command.init(options.config, options.server, options.app, is_blank=options.is_blank)


def status(options: argparse.Namespace) -> int:
    """Run ``rainbowd status``."""
    from rainbowd.cli import status as command

    return command.status(options.config, as_json=options.as_json, is_watching=options.is_watching)


def history(options: argparse.Namespace) -> int:
    """Run ``rainbowd history``."""
    from rainbowd.cli import history as command

    return command.history(options.config, as_json=options.as_json, count=options.count)


def deploy(options: argparse.Namespace) -> int:
    """Run ``rainbowd deploy``."""
    from rainbowd.cli import deploy as command

    wait = command.WaitOptions(options.is_waiting, options.timeout)
    return command.deploy(options.config, options.release, options.note, wait, is_now=options.is_now)


def rollback(options: argparse.Namespace) -> int:
    """Run ``rainbowd rollback``."""
    from rainbowd.cli import deploy as command

    return command.rollback(options.config, options.note, command.WaitOptions(options.is_waiting, options.timeout))


def upgrade(options: argparse.Namespace) -> int:
    """Run ``rainbowd upgrade``."""
    from rainbowd.cli import upgrade as command

    return command.upgrade(options.config, options.timeout)


def stop(options: argparse.Namespace) -> int:
    """Run ``rainbowd stop``."""
    from rainbowd.cli import stop as command

    return command.stop(options.config, options.timeout)


def restart(options: argparse.Namespace) -> int:
    """Run ``rainbowd restart``."""
    from rainbowd.cli import restart as command

    return command.restart(options.config, options.process, options.timeout)


def wait(options: argparse.Namespace) -> int:
    """Run ``rainbowd wait``."""
    from rainbowd.cli import wait as command

    return command.wait(options.config, options.deploy, options.release, options.timeout)


def show(options: argparse.Namespace) -> int:
    """Run ``rainbowd show``."""
    from rainbowd.cli import show as command

    return command.show(options.config, options.deploy, as_json=options.as_json)


def maintenance(options: argparse.Namespace) -> int:
    """Run ``rainbowd maintenance``."""
    from rainbowd.cli import maintenance as command

    return command.maintenance(options.config, options.action, options.message)


def pause(options: argparse.Namespace) -> int:
    """Run ``rainbowd pause``."""
    from rainbowd.cli import maintenance as command

    return command.pause(options.config, options.timeout)


def resume(options: argparse.Namespace) -> int:
    """Run ``rainbowd resume``."""
    from rainbowd.cli import maintenance as command

    return command.resume(options.config)


def completion(options: argparse.Namespace) -> int:
    """Run ``rainbowd completion``."""
    from rainbowd.cli import completion as command

    return command.completion(options.parser, options.shell, options.words)


def proxy(options: argparse.Namespace) -> int:
    """Run ``rainbowd proxy``."""
    gc.disable()  # as for the agent
    from rainbowd.cli import proxy as command

    return command.proxy(options.upstream, options.listen, options.limit)


def show_help(options: argparse.Namespace) -> int:
    """Run ``rainbowd help``: print the help of one command, or of the whole command line."""
    options.helps[options.topic].print_help()
    return 0
