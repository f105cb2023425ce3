"""Large bodies: from socket to socket through a pipe, without a visit here (splice(2)).

Moving a MiB this way costs a quarter of what 64 KiB buffers cost, half of what nginx's copying does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
LARGE_BYTES = 256 << 10
"""What has to be left of a body for a pipe to pay."""

_PIPE_BYTES = 1 << 20
_PIPES_MAX = 16
"""A user has 64 pipes of this size, behind which every new pipe of his, the apps' too, is a small one: pipe(7)."""


class Pipe:
    """A pipe that is empty whenever nobody moves anything."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # no more large ones for this user: it works as it is
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def close(self) -> None:
        """Give both descriptors back."""
        os.close(self.read_end)
        os.close(self.write_end)


class Pipes:
    """The few pipes there are, made at need; who finds none left moves his body by buffers."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._made = 0

    @contextlib.contextmanager
    def borrow(self, plain_bytes: int) -> Iterator[Pipe | None]:
        """A pipe for a body of which ``plain_bytes`` are left to be moved as they are; None where that is too little.

        One that may have been left with something in it is not lent again.
        """
        pipe = self._take() if plain_bytes >= LARGE_BYTES else None
        try:
            yield pipe
        except BaseException:
            self._drop(pipe)
            raise
        if pipe is not None:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._drop(self._idle.pop())

    def _take(self) -> Pipe | None:
        if self._idle:
            return self._idle.pop()
        if self._made >= _PIPES_MAX:
            return None
        try:
            pipe = Pipe()
        except OSError:  # no descriptors
            return None
        self._made += 1
        return pipe

    def _drop(self, pipe: Pipe | None) -> None:
        if pipe is not None:
            self._made -= 1
            pipe.close()
