"""The documents that the members of a fleet share: strict, because every machine with a password can write some.

The annotations in this file are not strings, because pydantic would compile each string at every start.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rainbowd.errors import RainbowdError, UsageError
from rainbowd.json_file import format_value, key_path

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
"""The pattern of names of members, fleets and releases: none is a path.  In pydantic, ``$`` is the end of the text."""

LAST_ORDER = 99_999_999
"""The highest number of an order: eight digits, because the keys of the history are sorted as text."""

PAST_MAX = 10
"""How many earlier releases an order names, for those who go back."""

NAME_MAX = 128

Name = Annotated[str, Field(pattern=NAME, max_length=NAME_MAX)]
RequestId = Annotated[str, Field(pattern=NAME, max_length=64)]
Text = Annotated[str, Field(max_length=1000)]
Line = Annotated[str, Field(max_length=2000)]


class Phase(StrEnum):
    """The phases of a rollout, in order; the last four are at rest."""

    PREPARING = "preparing"
    ROLLING = "rolling"
    BAKING = "baking"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    HALTED = "halted"
    FAILED = "failed"

    @property
    def is_at_rest(self) -> bool:
        """Whether the rollout has an outcome."""
        return self in {Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.HALTED, Phase.FAILED}


class State(StrEnum):
    """The states of a member in a rollout."""

    PREPARED = "prepared"
    CLAIMED = "claimed"
    LIVE = "live"
    FAILED = "failed"
    LOST = "lost"
    REVERTING = "reverting"
    REVERTED = "reverted"

    @property
    def has_turn(self) -> bool:
        """Whether a member in this state has a turn, so that it may be deploying."""
        return self in {State.CLAIMED, State.REVERTING}

    @property
    def is_bad(self) -> bool:
        """Whether a member in this state counts against ``max_failures``."""
        return self in {State.FAILED, State.LOST}


class UnreadableDocument(RainbowdError):
    """A document that this version does not understand; the message names its key and the reason."""


class Document(BaseModel):
    """A base with the types of JSON, no unknown keys and no changes.

    Attributes:
        format: the version of all documents, which is increased when an older agent could misread one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1

    @classmethod
    def parse(cls, key: str, text: str) -> Self:
        """Return the document that ``text`` contains.

        Args:
            key: where it was found, for the message.
            text: JSON.

        Raises:
            UnreadableDocument: it is something else, or of another version.
        """
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise UnreadableDocument(f"{key}: {_describe(error)}") from None

    @classmethod
    def build(cls, **values: object) -> Self:
        """Return a document of values that a person chose.

        Raises:
            UsageError: one of them does not fit into the document.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(_describe(error)) from None

    def encode(self) -> str:
        """Return the document as JSON."""
        return self.model_dump_json()


def _describe(error: ValidationError) -> str:
    """Describe the first problem of a document."""
    details = error.errors(include_url=False)[0]
    place = key_path(tuple(details["loc"])) or "the document"
    return f"{place}: found {format_value(details['input'])}; expected {details['msg']}"


class Order(Document):
    """A request for a release on all members; only deployers write it.

    Attributes:
        id: one more than that of the order before.
        request: by which the command recognises its own order.
        release: the name of a directory that each machine has or fetches.
        previous: the release of the fleet before this order; None if there was none.
        past: the releases of the fleet before that one, newest first, which only deployers have named.
        by, note, at: who ordered it, their remark, and when (RFC 3339).
        waves: the members of each wave, in order.
        parallel: how many members deploy at once.
        bake: seconds between two waves, and after the last.
        on_failure: what happens after a failure.
        max_failures: how many failed or lost members the rollout tolerates.
        rollback: whether the order goes back to a release that was live before.
        paused: whether no further turn begins.
        abort: who aborted it; None if it was not aborted.
    """

    id: Annotated[int, Field(ge=1, le=LAST_ORDER)]
    request: Annotated[str, Field(max_length=64)]
    release: Name
    previous: Name | None = None
    past: Annotated[tuple[Name, ...], Field(max_length=PAST_MAX)] = ()
    by: Text
    note: Text | None = None
    at: Text
    waves: Annotated[tuple[tuple[Name, ...], ...], Field(min_length=1)]
    parallel: Annotated[int, Field(ge=1)] = 1
    bake: Annotated[float, Field(ge=0, le=86400)] = 0
    on_failure: Literal["rollback", "halt"] = "rollback"
    max_failures: Annotated[int, Field(ge=0)] = 0
    rollback: bool = False
    paused: bool = False
    abort: Text | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """The members of all waves, in the order of their turns."""
        return tuple(name for wave in self.waves for name in wave)


class Turn(Document):
    """A member's part in a rollout.

    Attributes:
        state: what it does, or how its turn ended.
        reason: why it failed or was lost.
        deploy: the id of the request in the member's own journal.
        first: whether no member had launched the release when this turn began.
        has_release: whether it has failed or was lost after it had become live, so that it still runs the release.
    """

    state: State
    reason: Line | None = None
    deploy: RequestId | None = None
    first: bool = False
    has_release: bool = False

    @property
    def must_go_back(self) -> bool:
        """Whether the member runs the release of the rollout, so that a way back includes it."""
        return self.state is State.LIVE or self.has_release


class Progress(Document):
    """How far the newest order is; all members write it, one compare-and-swap at a time.

    Attributes:
        order: the id of the order.
        phase: of the rollout.
        wave: the index of the present wave, from 0.
        members: the turn of each member that has had a part in it.
        reason: why it did not succeed; None if it did, or has no outcome.
    """

    order: int
    phase: Phase
    wave: Annotated[int, Field(ge=0)] = 0
    members: dict[Name, Turn] = {}
    reason: Line | None = None

    def is_within(self, order: Order) -> bool:
        """Return whether this can be the progress of ``order``: its wave exists there."""
        return self.order != order.id or self.wave < len(order.waves)

    def of(self, *states: State) -> list[str]:
        """Return the members that are in one of ``states``, sorted."""
        return sorted(name for name, turn in self.members.items() if turn.state in states)

    @property
    def busy(self) -> list[str]:
        """The members that have a turn, sorted."""
        return self.of(*(state for state in State if state.has_turn))

    @property
    def bad(self) -> list[str]:
        """The members that have failed or are lost, sorted."""
        return self.of(*(state for state in State if state.is_bad))


class Lock(Document):
    """A deployer's lock: as long as it exists, every order is refused.

    Attributes:
        by, note, at: who locked the fleet, why, and when.
    """

    by: Text
    note: Text
    at: Text


class Presence(Document):
    """The sign that a member's agent runs; it vanishes with its lease.

    Attributes:
        machine: identifies the machine, so that two with one name are noticed.
        version: of rainbowd.
    """

    machine: Annotated[str, Field(max_length=64)]
    version: Annotated[str, Field(max_length=64)]


class Member(Document):
    """What a member last reported of itself; it is written when it changes.

    Attributes:
        rank: its place in the order of the waves, before its name.
        release: the live release; None if nothing is live.
        by_hand: the release that was linked by hand after the fleet's; None if there is none.
        since: when it became so (RFC 3339).
        output: the last lines of its last failure.
        join: whether someone asked it to give up a link that was changed by hand.
    """

    rank: int = 0
    release: Text | None = None
    by_hand: Text | None = None
    since: Text = ""
    output: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    join: bool = False


class Past(Document):
    """A rollout that is over, as ``rainbowd fleet history`` shows it.

    Attributes:
        order: what was ordered.
        progress: how it ended.
    """

    order: Order
    progress: Progress
