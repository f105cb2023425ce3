"""The command line, from arguments to an exit status.  Commands talk to the agent through files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rainbowd.cli.parser import make_parser
from rainbowd.cli.terminal import INTERRUPTED, open_closed_stdio, print_error
from rainbowd.errors import NotRunning, RainbowdError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; by default, those of the process.

    Returns:
        The exit status.
    """
    if sys.platform != "linux":
        print("rainbowd: runs only on Linux, because it needs epoll, pidfds and /proc", file=sys.stderr)
        return 2
    open_closed_stdio()
    options = make_parser().parse_args(argv)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except RainbowdError as error:
        for line in [*str(error).splitlines(), *_hints(error, options)]:
            print_error(line)
        return error.exit_status
    except BrokenPipeError:  # the reader of stdout has gone: print nothing more, not even at exit
        sys.stdout = None
        return 1
    except OSError as error:
        print_error(_explain(error))
        sys.stdout = None
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _hints(error: RainbowdError, options: argparse.Namespace) -> list[str]:
    """Return what a user can do about an error that all commands share."""
    if not isinstance(error, NotRunning):
        return []
    from rainbowd.cli.no_agent import hints

    return hints(options.config)


def _explain(error: OSError) -> str:
    """Return a system error as a message."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # of getcwd(3)
        return "the working directory no longer exists"
    return f"cannot write to stdout: {error.strerror}"
