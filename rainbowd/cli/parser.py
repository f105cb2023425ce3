"""The command line: its commands, their options and their help."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd import __version__
from rainbowd.cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[argparse.Namespace], int]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

CONFIG_HELP = "default: $RAINBOWD_CONFIG, else rainbowd.json or rainbow.conf.json in the working directory"
EXIT_STATUS = "Exit status: 0 done, 1 failed, 2 usage or config, 3 no agent is running for this config, 4 timed out."
WITHOUT_CONFIG = {"completion", "proxy", "help"}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="rainbowd",
        description="Redeploy a web app without losing a request. Without a command: run the agent in the foreground.",
        epilog=_epilog("rainbowd", "rainbowd --config /srv/shop/rainbowd.json", "rainbowd help deploy"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rainbowd {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG_HELP)
    parser.add_argument(
        "--listen", action="append", metavar="ADDRESS", help="HOST:PORT or unix:PATH instead of the file's; repeatable"
    )
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        metavar="LEVEL",
        help="debug, info, warning or error, instead of the file's",
    )
    parser.add_argument("--enable-api", action="store_true", help="serve the REST API too, at api.listen")
    parser.set_defaults(run=commands.run)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_setup(subparsers)
    _add_deploys(subparsers)
    _add_reports(subparsers)
    _add_agent(subparsers)
    _add_tools(subparsers, parser)
    return parser


def _add_setup(subparsers: Commands) -> None:
    init = _add(
        subparsers, "init", commands.init, "write a starter config for the app in this directory", "--server gunicorn"
    )
    init.add_argument("--server", metavar="NAME", help="the server to run the app with, see docs/servers.md")
    init.add_argument("--app", metavar="APP", help="what that server is to serve, such as shop.wsgi:application")
    init.add_argument("--blank", action="store_true", dest="is_blank", help="a config to fill in, with comments")
    check = _add(
        subparsers,
        "check",
        commands.check,
        "check the config; print what would run, and who may deploy",
        "",
        "--verbose",
    )
    check.add_argument("--verbose", action="store_true", dest="is_verbose", help="print the whole effective config too")


def _add_deploys(subparsers: Commands) -> None:
    deploy = _add(
        subparsers,
        "deploy",
        commands.deploy,
        "deploy a release and wait for the outcome; without RELEASE the same one again",
        "",
        "releases/20261123091500 --note 'fix the basket'",
        "v2 --timeout 300",
    )
    deploy.add_argument(
        "release",
        nargs="?",
        metavar="RELEASE",
        help="a path, or the name of a directory next to the live release (default: the linked release)",
    )
    rollback = _add(
        subparsers,
        "rollback",
        commands.rollback,
        "go back to the release that was live before, and wait for the outcome",
        "",
        "--note 'errors at the checkout'",
    )
    for command in (deploy, rollback):
        command.add_argument("--note", type=_text, metavar="TEXT", help="a remark for the journal and the history")
        command.add_argument("--timeout", type=_seconds, metavar="SECONDS", help=f"{_TIMEOUT}; the deploy goes on")
        command.add_argument(
            "--no-wait", action="store_false", dest="is_waiting", help="ask for the deploy and exit at once"
        )

    wait = _add(
        subparsers,
        "wait",
        commands.wait,
        "wait for the deploy that something else asked for, and show how it goes",
        "",
        "--live releases/20261123091500 --timeout 300",
        "--deploy 1f0e8a4c5b2d",
    )
    wanted = wait.add_mutually_exclusive_group()
    wanted.add_argument("--deploy", metavar="ID", help="this deploy, or the deploy of this request")
    wanted.add_argument("--live", dest="release", metavar="RELEASE", help="until this release is live")
    wait.add_argument("--timeout", type=_seconds, metavar="SECONDS", help=f"{_TIMEOUT}; the deploy goes on")


def _add_reports(subparsers: Commands) -> None:
    status = _add(
        subparsers,
        "status",
        commands.status,
        "show what is live, what drains, and how the last deploy ended",
        "",
        "--watch",
        "--json | jq .live",
    )
    status.add_argument("--json", action="store_true", dest="as_json", help="as the agent wrote it, for programs")
    status.add_argument("--watch", action="store_true", dest="is_watching", help="update it until Ctrl-C")

    history = _add(subparsers, "history", commands.history, "list the deploys, newest first", "", "-n 5 --json")
    history.add_argument("--json", action="store_true", dest="as_json", help="as a list of objects, for programs")
    history.add_argument("-n", type=_count, dest="count", metavar="N", help="how many (default: 20, as JSON all)")

    show = _add(
        subparsers,
        "show",
        commands.show,
        "show one deploy: its steps, and the output of its hooks and its app",
        "",
        "1f0e8a4c5b2d",
    )
    show.add_argument("deploy", nargs="?", metavar="DEPLOY", help="an id of the history (default: the last deploy)")
    show.add_argument("--json", action="store_true", dest="as_json", help="as an object, for programs")


def _add_agent(subparsers: Commands) -> None:
    upgrade = _add(
        subparsers,
        "upgrade",
        commands.upgrade,
        "replace the running agent by the installed version; the app runs on",
        "",
    )
    upgrade.add_argument("--timeout", type=_seconds, metavar="SECONDS", help=_TIMEOUT)
    stop = _add(
        subparsers, "stop", commands.stop, "stop the running agent and its app, and wait for their end", "--timeout 60"
    )
    stop.add_argument("--timeout", type=_seconds, metavar="SECONDS", help=f"{_TIMEOUT}; the agent continues to stop")


def _add_tools(subparsers: Commands, parser: argparse.ArgumentParser) -> None:
    completion = _add(
        subparsers,
        "completion",
        commands.completion,
        "print a script that completes commands in a shell",
        "bash >>~/.bashrc",
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish", "words"], metavar="bash|zsh|fish")
    words = completion.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    words.required = False  # it may be empty, and an error names what is required
    completion.set_defaults(parser=parser)

    proxy = _add(
        subparsers,
        "proxy",
        commands.proxy,
        "run the proxy alone, in front of an address that rainbowd does not manage",
        "--upstream 127.0.0.1:3000 --limit idle_timeout=null",
    )
    proxy.add_argument("--upstream", required=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH")
    proxy.add_argument("--listen", default="127.0.0.1:7000", metavar="ADDRESS", help="default: %(default)s")
    proxy.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the config's limits; null turns it off; repeatable",
    )
    show_help = _add(subparsers, "help", commands.show_help, "show the help of a command", "deploy")
    helps: dict[str | None, argparse.ArgumentParser] = {None: parser}
    helps.update(subparsers.choices)
    show_help.add_argument("topic", nargs="?", choices=list(subparsers.choices), metavar="COMMAND", help="default: all")
    show_help.set_defaults(helps=helps)


def _add(subparsers: Commands, name: str, run: Run, summary: str, *examples: str) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        subparsers: of the whole command line.
        name: of the command.
        run: what it runs.
        summary: what it does, for the list of commands and the head of its own help.
        examples: arguments that it is used with.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_epilog(*(f"rainbowd {name} {words}".rstrip() for words in examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name not in WITHOUT_CONFIG:
        parser.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=CONFIG_HELP)
    parser.set_defaults(run=run)
    return parser


def _epilog(*examples: str) -> str:
    return "\n".join(["examples:", *(f"  {example}" for example in examples), "", EXIT_STATUS])


_TIMEOUT = "how long to wait (default: no limit)"


def _text(text: str) -> str:
    """Return words of the command line as text, also if they are not UTF-8 and Python has them as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode(errors="backslashreplace")
    return text


def _seconds(text: str) -> float:
    """Return a duration of the command line in seconds."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


def _count(text: str) -> int:
    """Return a number of the command line that is not negative."""
    count = int(text)
    if count < 0:
        raise ValueError
    return count


_seconds.__name__, _count.__name__ = "number of seconds", "number"  # as argparse names them
