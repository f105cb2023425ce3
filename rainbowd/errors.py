"""Errors that are shown to a user, each with the exit status of the command that it ends."""

from __future__ import annotations

import errno

MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""Errors of the machine rather than of the user: a full, broken or read-only disk, no memory, no descriptors."""


class RainbowdError(Exception):
    """An error that a user can act on: the message names the object, what was expected and what to do."""

    exit_status = 1


class UsageError(RainbowdError):
    """A request that the command line or the machine does not allow; nothing was started."""

    exit_status = 2


class Unwritable(UsageError):
    """A file that cannot be written: exit status 2 if the user lacks permission, 1 if the machine fails.

    Args:
        problem: names the file and what cannot be done.
        error: the system's error.
    """

    def __init__(self, problem: str, error: OSError) -> None:
        super().__init__(f"{problem}: {error.strerror}")
        if error.errno in MACHINE_ERRNOS:
            self.exit_status = RainbowdError.exit_status


class ConfigError(UsageError):
    """A config that cannot be used.

    Args:
        problems: one line each, which names the file and the path of the key.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NotRunning(RainbowdError):
    """A command for an agent, while no agent is running for this config."""

    exit_status = 3


class TimedOut(RainbowdError):
    """A command that stopped waiting at its time limit; the deploy continues."""

    exit_status = 4


class Declined(RainbowdError):
    """A request that the running agent refused, without changing anything.

    Args:
        reason: the message.
        status: the HTTP status of the response, RFC 9110 section 15.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class DeployFailed(RainbowdError):
    """A failed deploy or launch.

    Args:
        reason: the last thing that was observed, in one sentence.
        output: the app's last lines, oldest first.
    """

    def __init__(self, reason: str, output: list[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output or []
