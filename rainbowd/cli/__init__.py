"""argv -> exit status.  Commands talk to the agent through files; each imports what it needs, and nothing before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rainbowd.cli.parser import make_parser
from rainbowd.cli.terminal import open_closed_stdio, print_error
from rainbowd.errors import NotRunning, RainbowdError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


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
    open_closed_stdio()
    options = make_parser().parse_args(argv)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except RainbowdError as error:
        for line in [*str(error).splitlines(), *_hints(error, options)]:
            print_error(line)
        return error.exit_status
    except BrokenPipeError:  # the reader of our output has gone: say no more, also not at exit
        sys.stdout = None
        return 1
    except OSError as error:
        print_error(_explained(error))
        sys.stdout = None
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _hints(error: RainbowdError, options: argparse.Namespace) -> list[str]:
    """Return what a person can do about an error that is the same for every command."""
    if not isinstance(error, NotRunning):
        return []
    from rainbowd.cli.no_agent import hints

    return hints(options.config)


def _explained(error: OSError) -> str:
    """What the system would not do for a command, in words."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # of getcwd(3)
        return "the working directory no longer exists"
    return f"stdout cannot be written: {error.strerror}"
