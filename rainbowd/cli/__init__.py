"""argv -> exit status.  Commands talk to the agent through files; each imports what it needs, and nothing before."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd import __version__
from rainbowd.cli.terminal import complain, open_what_is_closed
from rainbowd.errors import RainbowdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EPILOG = "Exit status: 0 done, 1 failed, 2 usage or config, 3 no agent is running for this config, 4 timed out."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words behind the program's name; those of the process by default.

    Returns:
        The exit status.
    """
    if sys.platform != "linux":
        print("rainbowd: runs on Linux only: it needs epoll, pidfds and /proc", file=sys.stderr)
        return 2
    open_what_is_closed()
    options = _parser().parse_args(argv)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except RainbowdError as error:
        for line in str(error).splitlines():
            complain(line)
        return error.exit_status
    except OSError as error:
        if error.filename is not None:
            raise
        if not isinstance(error, BrokenPipeError):
            complain(f"stdout cannot be written: {error.strerror}")
        sys.stdout = None  # say no more, also not at exit
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rainbowd",
        description="Painless zero-downtime redeploys for simple apps. Without a command: the agent itself.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"rainbowd {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: rainbowd.json, else rainbow.conf.json")
    parser.add_argument(
        "--listen", action="append", metavar="ADDRESS", help="HOST:PORT or unix:PATH; overrides the file"
    )
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], metavar="LEVEL", help="overrides the file"
    )
    parser.add_argument(
        "--enable-api", action="store_true", help="listen for commands too, as api.listen says; overrides the file"
    )
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    with_config = argparse.ArgumentParser(add_help=False)
    with_config.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help="as above")

    check = commands.add_parser(
        "check", parents=[with_config], help="validate the config; say what would run, and who may deploy"
    )
    check.set_defaults(run=_check)

    init = commands.add_parser("init", parents=[with_config], help="write a starter config for the app that is here")
    init.add_argument(
        "--server", metavar="NAME", help="run it with this one, such as puma-cluster: see docs/servers.md"
    )
    init.set_defaults(run=_init)

    status = commands.add_parser("status", parents=[with_config], help="show the generations")
    status.add_argument("--json", action="store_true", dest="as_json", help="as the agent wrote it")
    status.add_argument("--watch", action="store_true", dest="is_watching", help="go on until Ctrl-C")
    status.set_defaults(run=_status)

    history = commands.add_parser("history", parents=[with_config], help="show the deploys, newest first")
    history.add_argument("--json", action="store_true", dest="as_json", help="as a list of objects")
    history.add_argument("-n", type=_count, dest="count", metavar="N", help="how many (default: 20, as JSON all)")
    history.set_defaults(run=_history)

    _add_deploys(commands, with_config)

    renew = commands.add_parser(
        "renew", parents=[with_config], help="replace the running agent by what is now installed; apps go on"
    )
    renew.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="how long to wait (default: no limit)")
    renew.set_defaults(run=_renew)

    completion = commands.add_parser("completion", help="print what makes a shell complete rainbowd's words")
    completion.add_argument("shell", choices=["bash", "zsh", "fish", "words"], metavar="bash|zsh|fish")
    completion.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    completion.set_defaults(run=_completion)

    proxy = commands.add_parser("proxy", help="the proxy alone, in front of an address that is not managed")
    proxy.add_argument("--upstream", required=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH")
    proxy.add_argument("--listen", default="127.0.0.1:7000", metavar="ADDRESS", help="default: %(default)s")
    proxy.add_argument(
        "--limit", action="append", default=[], metavar="NAME=VALUE", help="as in the config's limits; null is off"
    )
    proxy.set_defaults(run=_proxy)
    return parser


def _add_deploys(commands: _Commands, with_config: argparse.ArgumentParser) -> None:
    waiting = argparse.ArgumentParser(add_help=False)
    waiting.add_argument("--note", type=_text, metavar="TEXT", help="what to tell of it, in the journal and in history")
    waiting.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="how long to wait; the deploy goes on (default: no limit)"
    )
    waiting.add_argument("--no-wait", action="store_false", dest="is_waiting", help="ask for it, and no more")

    deploy = commands.add_parser(
        "deploy", parents=[with_config, waiting], help="deploy a release, or the same once more, and tell how it goes"
    )
    deploy.add_argument(
        "release",
        nargs="?",
        metavar="RELEASE",
        help="a path, or the name of a directory beside the present release; default: what is linked",
    )
    deploy.set_defaults(run=_deploy)

    rollback = commands.add_parser(
        "rollback", parents=[with_config, waiting], help="deploy what was live before, in the same way"
    )
    rollback.set_defaults(run=_rollback)


def _text(text: str) -> str:
    """Words of the command line, which Python has as bytes where the locale or UTF-8 has no such letters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode(errors="backslashreplace")
    return text


def _seconds(text: str) -> float:
    """A duration of the command line."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError
    return count


_seconds.__name__, _count.__name__ = "number of seconds", "number"  # as argparse names them


def _run(options: argparse.Namespace) -> int:
    from rainbowd.cli.run import run

    return run(options.config, options.listen, options.log_level, enable_api=options.enable_api)


def _check(options: argparse.Namespace) -> int:
    from rainbowd.cli.check import check

    return check(options.config)


def _init(options: argparse.Namespace) -> int:
    from rainbowd.cli.init import init

    return init(options.config, options.server)


def _status(options: argparse.Namespace) -> int:
    from rainbowd.cli.status import status

    return status(options.config, as_json=options.as_json, is_watching=options.is_watching)


def _history(options: argparse.Namespace) -> int:
    from rainbowd.cli.history import history

    return history(options.config, as_json=options.as_json, count=options.count)


def _deploy(options: argparse.Namespace) -> int:
    from rainbowd.cli.deploy import Wait, deploy

    return deploy(options.config, options.release, options.note, Wait(options.is_waiting, options.timeout))


def _rollback(options: argparse.Namespace) -> int:
    from rainbowd.cli.deploy import Wait, rollback

    return rollback(options.config, options.note, Wait(options.is_waiting, options.timeout))


def _renew(options: argparse.Namespace) -> int:
    from rainbowd.cli.renew import renew

    return renew(options.config, options.timeout)


def _completion(options: argparse.Namespace) -> int:
    from rainbowd.cli.completion import completion

    return completion(_parser(), options.shell, options.words)


def _proxy(options: argparse.Namespace) -> int:
    from rainbowd.cli.proxy import proxy

    return proxy(options.upstream, options.listen, options.limit)
