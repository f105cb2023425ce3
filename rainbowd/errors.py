"""The errors that reach a user; each knows the exit status it ends a command with."""

from __future__ import annotations

import errno

OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""What no user can be blamed for: a full disk, a broken or read-only one, no memory, no descriptors."""


class RainbowdError(Exception):
    """Something a user can read and act on: the message names the thing, what was expected and what to do."""

    exit_status = 1


class UsageError(RainbowdError):
    """The command line or the machine does not allow what was asked for; nothing was started."""

    exit_status = 2


class Unwritable(UsageError):  # noqa: N818 - reads as what is the matter
    """A file cannot be written: a command exits with 2 if its user may not, with 1 if the machine cannot.

    Args:
        what: names the file, and says what cannot be done.
        error: what the system answered.
    """

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(f"{what}: {error.strerror}")
        if error.errno in OF_THE_MACHINE:
            self.exit_status = RainbowdError.exit_status


class ConfigError(UsageError):
    """The configuration cannot be used.

    Args:
        problems: one line each, already naming the file and the path of the key.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NotRunning(RainbowdError):  # noqa: N818 - an exit status, not a fault
    """No agent is running for this configuration."""

    exit_status = 3


class TimedOut(RainbowdError):  # noqa: N818 - an exit status, not a fault
    """What a command waits for did not come in time; it may come yet."""

    exit_status = 4


class Declined(RainbowdError):  # noqa: N818 - an answer
    """What a running agent was asked for cannot be done, and nothing was.

    Args:
        reason: why.
        status: of HTTP: RFC 9110, section 15.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class DeployFailed(RainbowdError):  # noqa: N818 - reads as what happened
    """A deploy was decided against the candidate.

    Args:
        reason: what was last seen, in one sentence.
        output: the app's last lines, oldest first.
    """

    def __init__(self, reason: str, output: list[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output or []
