"""argv -> exit status.  Commands talk to the agent through files; each imports what it needs, and nothing before."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd import __version__
from rainbowd.cli.terminal import complain, open_what_is_closed
from rainbowd.errors import RainbowdError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

CONFIG_HELP = "default: rainbowd.json here, else rainbow.conf.json"
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
    except BrokenPipeError:  # the reader of our output has gone: say no more, also not at exit
        sys.stdout = None
        return 1
    except OSError as error:
        complain(_explained(error))
        sys.stdout = None
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _explained(error: OSError) -> str:
    """What the system would not do for a command, in words."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # of getcwd(3)
        return "the working directory no longer exists"
    return f"stdout cannot be written: {error.strerror}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rainbowd",
        description="Redeploys a web app without losing a request. Without a command: runs the agent, here.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"rainbowd {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG_HELP)
    parser.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="HOST:PORT or unix:PATH, in place of the file's; repeatable",
    )
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        metavar="LEVEL",
        help="debug, info, warning or error, in place of the file's",
    )
    parser.add_argument("--enable-api", action="store_true", help="listen for calls over HTTP too, as api.listen says")
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    _add(commands, "check", _check, "judge the config; say what would run, and who may deploy")
    init = _add(commands, "init", _init, "write a starter config for the app that is here")
    init.add_argument("--server", metavar="NAME", help="run it with this one, such as puma: see docs/servers.md")

    status = _add(commands, "status", _status, "show what is live, what drains, and how the last deploy went")
    status.add_argument("--json", action="store_true", dest="as_json", help="as the agent wrote it, for programs")
    status.add_argument("--watch", action="store_true", dest="is_watching", help="go on, as it changes, until Ctrl-C")

    history = _add(commands, "history", _history, "show the deploys, newest first")
    history.add_argument("--json", action="store_true", dest="as_json", help="as a list of objects, for programs")
    history.add_argument("-n", type=_count, dest="count", metavar="N", help="how many (default: 20, as JSON all)")

    _add_deploys(commands)
    renew = _add(commands, "renew", _renew, "replace the running agent by what is now installed; the app goes on")
    renew.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="how long to wait (default: no limit)")

    completion = _add(commands, "completion", _completion, "print what a shell needs to complete rainbowd's words")
    completion.add_argument("shell", choices=["bash", "zsh", "fish", "words"], metavar="bash|zsh|fish")
    completion.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    proxy = _add(commands, "proxy", _proxy, "run the proxy alone, in front of an address that is not managed")
    proxy.add_argument("--upstream", required=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH")
    proxy.add_argument("--listen", default="127.0.0.1:7000", metavar="ADDRESS", help="default: %(default)s")
    proxy.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the config's limits; null is off; repeatable",
    )
    return parser


def _add(
    commands: _Commands, name: str, run: Callable[[argparse.Namespace], int], words: str
) -> argparse.ArgumentParser:
    """A command, which is ``words`` in the list of all and at the head of its own help."""
    parser = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", epilog=EPILOG)
    if name not in {"completion", "proxy"}:
        parser.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=CONFIG_HELP)
    parser.set_defaults(run=run)
    return parser


def _add_deploys(commands: _Commands) -> None:
    deploy = _add(commands, "deploy", _deploy, "deploy a release, or the same once more, and show how it goes")
    deploy.add_argument(
        "release",
        nargs="?",
        metavar="RELEASE",
        help="a path, or the name of a directory beside the present release (default: what is linked)",
    )
    rollback = _add(commands, "rollback", _rollback, "deploy what was live before, and show how it goes")
    for command in (deploy, rollback):
        command.add_argument("--note", type=_text, metavar="TEXT", help="a word on it, for the journal and for history")
        command.add_argument(
            "--timeout",
            type=_seconds,
            metavar="SECONDS",
            help="how long to wait for it to be decided; it goes on (default: no limit)",
        )
        command.add_argument("--no-wait", action="store_false", dest="is_waiting", help="ask for it, and no more")


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
    gc.disable()  # until the proxy serves: nothing that is loaded is garbage, and looking for it a tenth of the start
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
    gc.disable()  # as for the agent
    from rainbowd.cli.proxy import proxy

    return proxy(options.upstream, options.listen, options.limit)
