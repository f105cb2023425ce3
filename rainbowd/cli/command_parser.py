"""The parser of one command: its summary, its examples, and the options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd import __version__
from rainbowd.cli import argument_types as types
from rainbowd.cli.terminal import print_line
from rainbowd.compiled import is_compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[argparse.Namespace], int]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

CONFIG_HELP = (
    "the config file (default: $RAINBOWD_CONFIG, else rainbowd.json or rainbow.conf.json in the working directory)"
)
EXIT_STATUS = "Exit status: 0 success, 1 failed, 2 wrong usage or config, 3 no agent is running, 4 timed out."
WITHOUT_CONFIG = {"completion", "proxy", "help"}


class PrintVersion(argparse.Action):
    """The option that prints the version; only it reads from the disk whether the proxy is compiled."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version, and exit with 0."""
        print_line(f"rainbowd {__version__} (compiled)" if is_compiled() else f"rainbowd {__version__}")
        parser.exit()


def add_command(subparsers: Commands, name: str, run: Run, summary: str, *examples: str) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        subparsers: the commands of the whole command line.
        name: the name of the command.
        run: the function that it runs.
        summary: one imperative sentence, for the list of commands and the head of the command's help.
        examples: arguments that users give it.

    Returns:
        The parser of the command.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog(*(f"rainbowd {name} {arguments}".rstrip() for arguments in examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name not in WITHOUT_CONFIG:
        parser.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=CONFIG_HELP)
    parser.set_defaults(run=run)
    return parser


def epilog(*examples: str) -> str:
    """Return the end of a help: example commands, and the exit statuses."""
    return "\n".join(["examples:", *(f"  {example}" for example in examples), "", EXIT_STATUS])


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` to a command."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, for programs")


def add_timeout(parser: argparse.ArgumentParser, after: str) -> None:
    """Add ``--timeout`` to a command.

    Args:
        parser: of the command.
        after: what happens after the timeout, such as ``the deploy continues``.
    """
    text = f"wait at most this long (default: no limit); {after} after that"
    parser.add_argument("--timeout", type=types.seconds, metavar="SECONDS", help=text)
