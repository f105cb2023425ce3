"""The part of the command line's parser for ``rainbowd fleet``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.cli import argument_types as types
from rainbowd.cli.fleet import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[argparse.Namespace], int]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_STATUS = (
    "Exit status: 0 every present member is live, 1 refused, rolled back, halted or aborted, 2 wrong usage or config, "
    "3 etcd does not answer, 4 timed out."
)


def add_commands(fleet: argparse.ArgumentParser, config_help: str) -> None:
    """Add the options and the commands of ``rainbowd fleet`` to its parser.

    Args:
        fleet: the parser.
        config_help: the help of ``--config``.
    """
    _add_fleet(fleet, default=None)
    fleet.add_argument("--json", action="store_true", dest="as_json", help="print JSON, for programs")
    fleet.add_argument("--watch", action="store_true", dest="is_watching", help="update the output until Ctrl-C")
    fleet.epilog = f"{fleet.epilog}".rpartition("\n")[0] + f"\n{EXIT_STATUS}"
    choices = fleet.add_subparsers(title="commands", metavar="COMMAND", help="default: show the fleet")
    group = _Group(choices, config_help)
    _add_deploys(group)
    for name, run, summary in (
        ("pause", commands.pause, "begin no further turn of the rollout"),
        ("resume", commands.resume, "continue the paused rollout"),
        ("unlock", commands.unlock, "allow orders again"),
    ):
        group.add(name, run, summary)
    abort = group.add("abort", commands.abort, "end the rollout as if it had failed")
    abort.add_argument("--halt", action="store_true", dest="halts", help="leave the members as they are")
    lock = group.add("lock", commands.lock, "refuse further orders until they are unlocked")
    lock.add_argument("--note", type=types.text, metavar="TEXT", required=True, help="why, for those who are refused")
    history = group.add("history", commands.history, "list the rollouts that are over, newest first")
    history.add_argument("--json", action="store_true", dest="as_json", help="print JSON, for programs")
    forget = group.add("forget", commands.forget, "remove a member that will not come back")
    forget.add_argument("member", metavar="MEMBER", help="the name of the member")
    join = group.add("join", commands.join, "follow the fleet again, after the link was changed by hand")
    join.add_argument("member", nargs="?", metavar="MEMBER", help="the name of the member (default: this machine)")


class _Group:
    """The commands of ``rainbowd fleet``, which have common options."""

    def __init__(self, subparsers: Commands, config_help: str) -> None:
        self._subparsers = subparsers
        self._config_help = config_help

    def add(self, name: str, run: Run, summary: str) -> argparse.ArgumentParser:
        """Add one command to the parser."""
        parser = self._subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXIT_STATUS,
        )
        parser.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=self._config_help)
        _add_fleet(parser, default=argparse.SUPPRESS)
        parser.set_defaults(run=run)
        return parser


def _add_deploys(group: _Group) -> None:
    deploy = group.add("deploy", commands.deploy, "deploy a release to all members, in waves")
    deploy.add_argument("release", nargs="?", metavar="RELEASE", help="its name (default: the present one, again)")
    deploy.add_argument("--waves", metavar="1,25%,100%", help="how many members have it after each wave, or names")
    deploy.add_argument("--parallel", type=types.count, metavar="N", help="how many members deploy at once")
    deploy.add_argument("--bake", type=types.seconds, metavar="SECONDS", help="the time between two waves")
    deploy.add_argument("--on-failure", choices=["rollback", "halt"], help="what happens after a failure")
    deploy.add_argument("--require-all", action="store_true", dest="requires_all", help="refuse if a member is absent")
    rollback = group.add("rollback", commands.rollback, "deploy the previous release to all members at once")
    for command in (deploy, rollback):
        command.add_argument("--note", type=types.text, metavar="TEXT", help="add a remark to the history")
        command.add_argument(
            "--wait",
            type=types.seconds,
            default=0.0,
            dest="wait_seconds",
            metavar="SECONDS",
            help="wait at most this long for another rollout or a lock to end (default: refuse)",
        )
        command.add_argument(
            "--timeout",
            type=types.seconds,
            metavar="SECONDS",
            help="wait at most this long (default: no limit); the rollout continues after that",
        )
        command.add_argument("--no-wait", action="store_false", dest="is_waiting", help="order it and return")


def _add_fleet(parser: argparse.ArgumentParser, default: object) -> None:
    text = "a file with the value of the config's `fleet` alone, for a machine that is no member"
    parser.add_argument("--fleet", type=Path, metavar="FILE", default=default, help=text)
