"""The parser of the command line: the commands, their options and their help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.cli import argument_types as types
from rainbowd.cli import commands
from rainbowd.cli.command_parser import CONFIG_HELP, PrintVersion, add_command, add_json, add_timeout, epilog
from rainbowd.cli.fleet import commands as fleet_commands
from rainbowd.cli.fleet.parser import add_commands

if TYPE_CHECKING:
    from rainbowd.cli.command_parser import Commands


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="rainbowd",
        description="Redeploy a web app without losing a request. Without a command, run the agent in the foreground.",
        epilog=epilog("rainbowd", "rainbowd --config /srv/shop/rainbowd.json", "rainbowd help deploy"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version_help = "show program's version number and exit"
    parser.add_argument("--version", action=PrintVersion, nargs=0, default=argparse.SUPPRESS, help=version_help)
    parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG_HELP)
    parser.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="listen on HOST:PORT or unix:PATH; repeatable (default: listen)",
    )
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        metavar="LEVEL",
        help="log at debug, info, warning or error (default: log.level)",
    )
    parser.add_argument(
        "--enable-api", action="store_true", help="serve the REST API at api.listen (default: api.enabled)"
    )
    parser.set_defaults(run=commands.run)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_setup(subparsers)
    _add_deploys(subparsers)
    _add_wait(subparsers)
    _add_reports(subparsers)
    _add_site(subparsers)
    _add_agent(subparsers)
    _add_fleet(subparsers)
    _add_completion(subparsers, parser)
    _add_proxy(subparsers)
    _add_help(subparsers, parser)
    return parser


def _add_setup(subparsers: Commands) -> None:
    init = add_command(
        subparsers, "init", commands.init, "write a starter config for the app in this directory", "--server gunicorn"
    )
    init.add_argument("--server", metavar="NAME", help="run the app with this server (default: the app's own)")
    init.add_argument(
        "--app", metavar="APP", help="serve this app, such as shop.wsgi:application (default: the app found)"
    )
    init.add_argument("--blank", action="store_true", dest="is_blank", help="write a config to fill in, with comments")
    check = add_command(
        subparsers,
        "check",
        commands.check,
        "validate the config, and show what would run and who can deploy",
        "",
        "--verbose",
    )
    check.add_argument("--verbose", action="store_true", dest="is_verbose", help="print the whole effective config too")


def _add_deploys(subparsers: Commands) -> None:
    deploy = add_command(
        subparsers,
        "deploy",
        commands.deploy,
        "deploy a release, and wait for the outcome",
        "",
        "releases/20261123091500 --note 'fix the basket'",
        "v2 --timeout 300",
    )
    deploy.add_argument(
        "release",
        nargs="?",
        metavar="RELEASE",
        help="a path, or the name of a directory next to the live release (default: the linked release, again)",
    )
    rollback = add_command(
        subparsers,
        "rollback",
        commands.rollback,
        "deploy the release that was live before, and wait for the outcome",
        "",
        "--note 'errors at the checkout'",
    )
    deploy.add_argument("--now", action="store_true", dest="is_now", help="skip canary and bake, for a hotfix")
    for command in (deploy, rollback):
        command.add_argument("--note", type=types.text, metavar="TEXT", help="add a remark to the history")
        add_timeout(command, "the deploy continues")
        command.add_argument("--no-wait", action="store_false", dest="is_waiting", help="request the deploy and return")


def _add_wait(subparsers: Commands) -> None:
    wait = add_command(
        subparsers,
        "wait",
        commands.wait,
        "wait for a deploy that something else requested, and show its progress",
        "",
        "--live releases/20261123091500 --timeout 300",
        "--deploy 1f0e8a4c5b2d",
    )
    wanted = wait.add_mutually_exclusive_group()
    wanted.add_argument(
        "--deploy",
        metavar="ID",
        help="wait for the deploy with this id, or of the request with this id (default: the last deploy)",
    )
    wanted.add_argument("--live", dest="release", metavar="RELEASE", help="wait until this release is live")
    add_timeout(wait, "the deploy continues")


def _add_reports(subparsers: Commands) -> None:
    status = add_command(
        subparsers,
        "status",
        commands.status,
        "show the live generation, the draining ones, and the last deploy",
        "",
        "--watch",
        "--json | jq .live",
    )
    add_json(status)
    status.add_argument("--watch", action="store_true", dest="is_watching", help="update the output until Ctrl-C")

    history = add_command(subparsers, "history", commands.history, "list the deploys, newest first", "", "-n 5 --json")
    add_json(history)
    history.add_argument(
        "-n",
        type=types.count,
        dest="count",
        metavar="N",
        help="print only the last N deploys (default: 20; with --json, all)",
    )

    show = add_command(
        subparsers,
        "show",
        commands.show,
        "show one deploy, with its steps and the output of its hooks and its app",
        "",
        "1f0e8a4c5b2d",
    )
    show.add_argument(
        "deploy",
        nargs="?",
        metavar="DEPLOY",
        help="the id of a deploy in the history, or its beginning (default: the last deploy)",
    )
    add_json(show)


def _add_site(subparsers: Commands) -> None:
    maintenance = add_command(
        subparsers,
        "maintenance",
        commands.maintenance,
        "answer every request with a maintenance page, or serve the app again",
        "on --message 'Back at 10 o'\\''clock.'",
        "off",
        "",
    )
    maintenance.add_argument(
        "action",
        nargs="?",
        choices=["on", "off"],
        metavar="on|off",
        help="begin or end it (default: print which it is)",
    )
    maintenance.add_argument(
        "--message", type=types.text, metavar="TEXT", help="answer with this text or HTML (default: a short text)"
    )
    pause = add_command(
        subparsers,
        "pause",
        commands.pause,
        "hold new requests, and wait until none is in flight",
        "--timeout 30",
    )
    pause.add_argument(
        "--timeout",
        type=types.seconds,
        metavar="SECONDS",
        help="hold a request, and wait, at most this long (default: hold.timeout)",
    )
    add_command(subparsers, "resume", commands.resume, "serve new requests again, and those that wait", "")


def _add_agent(subparsers: Commands) -> None:
    upgrade = add_command(
        subparsers,
        "upgrade",
        commands.upgrade,
        "replace the running agent with the installed version, without stopping the app",
        "",
    )
    add_timeout(upgrade, "the upgrade continues")
    restart = add_command(
        subparsers,
        "restart",
        commands.restart,
        "start the companion processes of one name again, without a deploy",
        "worker",
    )
    restart.add_argument("process", metavar="NAME", help="the name in `processes`, such as worker")
    add_timeout(restart, "the restart continues")
    stop = add_command(
        subparsers, "stop", commands.stop, "stop the agent and its app, and wait until both have exited", "--timeout 60"
    )
    add_timeout(stop, "the agent continues to stop")


def _add_fleet(subparsers: Commands) -> None:
    fleet = add_command(
        subparsers,
        "fleet",
        fleet_commands.show,
        "deploy to all machines of a fleet, or show them",
        "",
        "deploy v42 --note 'fix the basket'",
        "deploy v42 --waves 1,25%,100% --parallel 2",
        "rollback",
    )
    add_commands(fleet, CONFIG_HELP)


def _add_completion(subparsers: Commands, parser: argparse.ArgumentParser) -> None:
    completion = add_command(
        subparsers, "completion", commands.completion, "print a completion script for a shell", "bash >>~/.bashrc"
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish", "words"], metavar="bash|zsh|fish")
    words = completion.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    words.required = False  # it may be empty, and error messages list the required arguments
    completion.set_defaults(parser=parser)


def _add_proxy(subparsers: Commands) -> None:
    proxy = add_command(
        subparsers,
        "proxy",
        commands.proxy,
        "run only the proxy, in front of an app that rainbowd does not manage",
        "--upstream 127.0.0.1:3000 --limit idle_timeout=null",
    )
    proxy.add_argument("--upstream", required=True, metavar="ADDRESS", help="the app's HOST:PORT or unix:PATH")
    proxy.add_argument(
        "--listen",
        default="127.0.0.1:7000",
        metavar="ADDRESS",
        help="listen on HOST:PORT or unix:PATH (default: %(default)s)",
    )
    proxy.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set one of the config's limits; null turns it off; repeatable (default: as in a config)",
    )


def _add_help(subparsers: Commands, parser: argparse.ArgumentParser) -> None:
    show_help = add_command(subparsers, "help", commands.show_help, "show the help of a command", "deploy")
    helps: dict[str | None, argparse.ArgumentParser] = {None: parser}
    helps.update(subparsers.choices)
    show_help.add_argument(
        "topic",
        nargs="?",
        choices=list(subparsers.choices),
        metavar="COMMAND",
        help="the command (default: list all commands)",
    )
    show_help.set_defaults(helps=helps)
