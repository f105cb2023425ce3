"""A generation's files in the state directory."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from rainbowd.config.account import ROOT
from rainbowd.deploy.host.tree_removal import remove_tree
from rainbowd.report.state_dir import SECRET_MODE, admit, open_to_read, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config import Account

_DIRECTORY_MODE = 0o700


class GenerationFiles:
    """The paths of the files of a generation's app, or of one of its companion processes.

    Args:
        state_dir: the state directory.
        generation_id: the id of the generation.
        companion: the launch of a companion process, such as ``worker.1-0f3a9c21``; empty for the app.

    Attributes:
        directory: the app's own, 0700.
        pidfile, socket: in it, for the app to make.
        output: the named pipe that the app writes its output to.
        record: the record by which a later agent identifies it.
        source: what it was launched from, with secrets, 0600.
        startup_output: its output until it was live.
        all: all of these except the directory and its content.
    """

    def __init__(self, state_dir: Path, generation_id: int, companion: str = "") -> None:
        stem = f"generation-{generation_id}-{companion}" if companion else f"generation-{generation_id}"
        self.directory = state_dir / stem
        self.pidfile = self.directory / "pid"
        self.socket = self.directory / "sock"
        self.output = state_dir / f"{stem}.out"
        self.record = state_dir / f"{stem}.json"
        self.source = state_dir / f"{stem}.plan"
        self.startup_output = state_dir / f"{stem}.boot"
        self.all = self.record, self.source, self.output, self.startup_output

    def make(self, account: Account | None = None) -> None:
        """Create the directory, empty and owned by ``account``.

        Args:
            account: of the app; None for the agent's own.

        Raises:
            OSError: it cannot be created, or it exists.
        """
        self.directory.mkdir(mode=0o700)
        if account is not None and account.uid != os.geteuid():
            admit(self.directory.parent)
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if account is not None and os.geteuid() == ROOT:
                os.fchown(fd, account.uid, account.gid)
            os.fchmod(fd, _DIRECTORY_MODE)  # whatever is inherited from the state directory
        finally:
            os.close(fd)

    def put_on_record(self, record: bytes, source: bytes) -> None:
        """Write the files that a later agent needs, the record last, before the app's first instruction runs.

        Raises:
            OSError: a file cannot be written.
        """
        replace_file(self.source, source, mode=SECRET_MODE)
        replace_file(self.record, record)

    def make_again(self, source: bytes | None, account: Account | None) -> None:
        """Create the directory and ``source`` once more, because the state directory was removed.

        Args:
            source: the content of ``source``; None if it was gone before.
            account: see ``make``.

        Raises:
            OSError: a file cannot be written.
        """
        if source is not None:
            replace_file(self.source, source, mode=SECRET_MODE)
        with suppress(FileExistsError):
            self.make(account)

    def launched_from(self) -> bytes | None:
        """Return the content of ``source``; None if it is gone."""
        try:
            with open_to_read(self.source) as file:
                return file.read()
        except OSError:
            return None

    def clear(self) -> None:
        """Remove all files, including those of the app; call it in a thread: the app decides how many there are.

        Raises:
            OSError: a file cannot be removed; all others are.
        """
        refusal: OSError | None = None
        removals = partial(remove_tree, self.directory), *(partial(file.unlink, missing_ok=True) for file in self.all)
        for remove in removals:
            try:
                remove()
            except OSError as error:
                refusal = error
        if refusal is not None:
            raise refusal
