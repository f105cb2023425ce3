"""The functions that run ``rainbowd fleet ...``.  Each imports its command only when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from rainbowd.cli.fleet.deploy import Options


def show(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet``."""
    from rainbowd.cli.fleet import show as command

    return command.show(options.config, options.fleet, as_json=options.as_json, is_watching=options.is_watching)


def deploy(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet deploy``."""
    from rainbowd.cli.fleet import deploy as command

    return command.deploy(options.config, options.fleet, options.release, _options(options))


def rollback(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet rollback``."""
    from rainbowd.cli.fleet import deploy as command

    return command.rollback(options.config, options.fleet, _options(options))


def pause(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet pause``."""
    from rainbowd.cli.fleet import steer as command

    return command.pause(options.config, options.fleet, is_paused=True)


def resume(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet resume``."""
    from rainbowd.cli.fleet import steer as command

    return command.pause(options.config, options.fleet, is_paused=False)


def abort(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet abort``."""
    from rainbowd.cli.fleet import steer as command

    return command.abort(options.config, options.fleet, halts=options.halts)


def lock(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet lock``."""
    from rainbowd.cli.fleet import steer as command

    return command.lock(options.config, options.fleet, options.note)


def unlock(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet unlock``."""
    from rainbowd.cli.fleet import steer as command

    return command.unlock(options.config, options.fleet)


def history(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet history``."""
    from rainbowd.cli.fleet import show as command

    return command.history(options.config, options.fleet, as_json=options.as_json)


def forget(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet forget``."""
    from rainbowd.cli.fleet import steer as command

    return command.forget(options.config, options.fleet, options.member)


def join(options: argparse.Namespace) -> int:
    """Run ``rainbowd fleet join``."""
    from rainbowd.cli.fleet import steer as command

    return command.join(options.config, options.fleet, options.member)


def _options(options: argparse.Namespace) -> Options:
    from rainbowd.cli.fleet.deploy import Options

    names = ("waves", "parallel", "bake", "on_failure", "requires_all")
    chosen = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return Options(options.note, options.wait_seconds, options.timeout, options.is_waiting, **chosen)
