"""A machine's record of its own deploys for the fleet: ``fleet.json`` in the state directory.

The release to go back to is kept here and not in a shared document, because every member can write that.
The annotations in this file are not strings, because pydantic would compile each string at every start.
"""

from pathlib import Path
from typing import Self

from rainbowd.errors import RainbowdError
from rainbowd.fleet.models import Document, Order, UnreadableDocument
from rainbowd.report.reserved_file import ReservedFile
from rainbowd.report.state_dir import open_to_read

NAME = "fleet.json"


class OwnDeploy(Document):
    """The last deploy that this machine made for the fleet.

    Attributes:
        request: the id of the turn that it was made for, and of the request in the journal.
        order: the number of the order that gave the turn.
        ordered_by: the id of the command that wrote that order; None in the record of an older version.
        release: the name of what it deployed.
        is_revert: whether it went back from the release of that order.
        before: the release that was live when it began; None if nothing was.
        generation: the id of the generation that was live then; None if nothing was.
        is_done: whether it has an outcome.
        failure: why it failed; None if it succeeded or has no outcome.
        output: the last lines of the app or the hook that failed.
    """

    request: str
    order: int
    ordered_by: str | None = None
    release: str
    is_revert: bool = False
    before: str | None = None
    generation: int | None = None
    is_done: bool = False
    failure: str | None = None
    output: tuple[str, ...] = ()


class Record(Document):
    """A machine's own memory.

    Attributes:
        attempt: its last deploy for the fleet; None if it has made none.
        flipped: the number of the order that made its release live here, unless that was undone since; None for none.
        flipped_by: the id of the command that wrote that order: an etcd that starts empty counts orders from 1 again.
        before: the release that was live before that; None if none was.
        link: the release that the link had when the fleet changed it last; None if it never did.
        link_before: the same before ``flipped``.
    """

    attempt: OwnDeploy | None = None
    flipped: int | None = None
    flipped_by: str | None = None
    before: str | None = None
    link: str | None = None
    link_before: str | None = None

    def begin(self, attempt: OwnDeploy) -> Self:
        """Return the record of a deploy that begins; a deploy that continues after a crash keeps its first values."""
        if self.attempt is not None and self.attempt.request == attempt.request:
            return self
        return self.model_copy(update={"attempt": attempt})

    def finish(self, failure: str | None, output: tuple[str, ...] = ()) -> Self:
        """Return the record of the deploy that has ended.

        Args:
            failure: why it failed; None if it succeeded.
            output: the last lines of the app or the hook that failed.
        """
        attempt = self.attempt
        assert attempt is not None
        done = attempt.model_copy(update={"is_done": True, "failure": failure, "output": output})
        changes: dict[str, object] = {"attempt": done}
        if failure is None and attempt.is_revert:
            is_undone = attempt.release == self.before
            link = self.link_before if is_undone and self.link_before is not None else attempt.release
            changes |= {"flipped": None, "flipped_by": None, "before": None, "link": link, "link_before": None}
        elif failure is None:
            changes |= {"flipped": attempt.order, "flipped_by": attempt.ordered_by, "link": attempt.release}
            if (self.flipped, self.flipped_by) != (attempt.order, attempt.ordered_by):
                changes |= {"before": attempt.before, "link_before": self.link}
        return self.model_copy(update=changes)

    def has_flipped(self, order: Order) -> bool:
        """Return whether ``order`` made its release live here, and that was not undone since."""
        return self.flipped == order.id and self.flipped_by in {None, order.request}

    def is_by_hand(self, linked: str | None) -> bool:
        """Return whether someone has changed the link since the fleet did.

        Args:
            linked: the release that the link names now; None if it names none.
        """
        own = self.attempt.release if self.attempt is not None and not self.attempt.is_done else self.link
        return self.link is not None and linked is not None and linked not in {self.link, own}

    def join(self, linked: str | None) -> Self:
        """Return the record in which ``linked``, the release of the present link, counts as the fleet's own."""
        return self.model_copy(update={"link": linked})


def read(state_dir: Path) -> Record:
    """Read the record; an empty one if there is none yet.

    Args:
        state_dir: the directory of the file.

    Raises:
        RainbowdError: the file cannot be read, is damaged, or was written by another version.
    """
    path = state_dir / NAME
    try:
        with open_to_read(path) as file:
            text = file.read().decode()
    except FileNotFoundError:
        return Record()
    except (OSError, UnicodeDecodeError) as error:
        raise RainbowdError(f"{path}: cannot be read: {error}") from None
    try:
        return Record.parse(str(path), text)
    except UnreadableDocument as error:
        raise RainbowdError(str(error)) from None


def write(state_dir: Path, record: Record) -> None:
    """Replace the file atomically.

    Args:
        state_dir: the directory of the file.
        record: the content.

    Raises:
        OSError: the file cannot be written; it keeps its old content.
    """
    ReservedFile(state_dir / NAME).replace(record.encode().encode() + b"\n")
