"""Which of the journal's events are about the deploy that a command asked for.  Plain: events in, what to tell out.

A deploy is found by its request's id: the agent reads that from the trigger file, and ``deploy.requested`` has it
beside the deploy's own id, which requests that are merged share.  But the agent reads the file once it has settled,
some 10 ms after it was written, and what another writes in its place before then is all that it sees: our id never
comes. Then nothing is lost but the id.  Files say what should be live, and the deploy that the other asked for reads
them later than we wrote them, so it is ours as much as if the agent had merged the two.  That is what a command
follows as soon as it sees that the trigger file is not as it wrote it: the first deploy that was requested after it
had done all its writing.  It is safe to do so too early, as where the agent has read our id after all and just not
told it yet: the deploy that we follow still read the files after we wrote them, and our own id, should it come, wins
until that is decided.

An agent that is just starting looks at the files by itself: the deploy of its start is ours too where it came later.
One whose config was changed since its start may watch another trigger file; it still sees the link turn to our release.

Should no deploy come at all, because the file was taken away rather than replaced, the command writes it again; so none
waits for ever.  Doing that at once would be simpler, but have the same release launched for each of two commands, one
after the other, and for ten of them ten times.

Either way a deploy that was meant for another release may end well with ours not live: that is a failure, told as the
agent tells it of a candidate, "superseded by".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rainbowd.report.history import DECISIONS

if TYPE_CHECKING:
    from rainbowd.report.journal import Event

FAILED = "failed"


class DeployResult(NamedTuple):
    """How a deploy was decided.

    Attributes:
        result: see ``history.DECISIONS``.
        at: when.
        release: of which.
        generation: the number of its candidate, or of what is live; None where there was none.
        reason, output: of a failure.
    """

    result: str
    at: str
    release: str | None
    generation: int | None
    reason: str | None
    output: list[str]


class DeployTracker:
    """Sorts events as they are read.

    Args:
        request: the id that we look for; None where the trigger file is off, and the turn of the link is all.
        release: which it is to be; None for whatever the files name.
        asked_at: when the last file was written: RFC 3339 in UTC with milliseconds, rounded up.

    Attributes:
        deploy: the id of the deploy that is ours; None before it is known.
        outcome: None before that is decided.
        is_passed_over: our request was replaced, so another's deploy will do.
    """

    def __init__(self, request: str | None, release: str | None, asked_at: str) -> None:
        self.deploy: str | None = None
        self.outcome: DeployResult | None = None
        self.is_passed_over = request is None
        self._request = request
        self._release = release
        self._asked_at = asked_at
        self._is_certain = False
        self._events: list[Event] = []
        self._generations: set[object] = set()

    @classmethod
    def for_deploy(cls, deploy: str) -> DeployTracker:
        """Return the tracker of a deploy whose id is known, whichever release it is for."""
        tracker = cls(None, None, "")
        tracker.deploy, tracker._is_certain = deploy, True
        return tracker

    def read(self, events: list[Event]) -> list[Event]:
        """Those that are about our deploy, in order, also such as came before it was known to be ours."""
        self._events += events
        chosen = self._choose()
        if chosen is None:
            return []
        if chosen != self.deploy:
            self.deploy = chosen
            self._generations.clear()
        told, self._events = self._events, []
        ours = [event for event in told if self._is_ours(event)]
        decided = next((event for event in ours if event["event"] in DECISIONS), None)
        if decided is not None:
            self.outcome = self._judge(decided)
        return ours

    def _choose(self) -> str | None:
        """The deploy's id, as far as is known."""
        if self._is_certain:
            return self.deploy
        asked = [event for event in self._events if event["event"] == "deploy.requested" and event.get("deploy")]
        own = next((event for event in asked if self._request and event.get("request") == self._request), None)
        if own is not None:
            self._is_certain = True
        elif self.deploy is not None:
            return self.deploy
        else:
            later = (event for event in asked if str(event.get("at", "")) >= self._asked_at)
            own = next((event for event in later if self._will_do(event)), None)
        return None if own is None else str(own.get("deploy"))

    def _will_do(self, event: Event) -> bool:
        """Whether a request that came later than ours is as good."""
        if self.is_passed_over or event.get("trigger") == "start":
            return True
        is_a_turn_to_ours = event.get("trigger") == "symlink" and event.get("release") == self._release
        return self._release is not None and is_a_turn_to_ours

    def _is_ours(self, event: Event) -> bool:
        if event.get("deploy") == self.deploy:
            if event["event"] == "generation.launched":
                self._generations.add(event.get("generation"))
            return True
        return str(event["event"]).startswith("generation.") and event.get("generation") in self._generations

    def _judge(self, decided: Event) -> DeployResult:
        """What it means for us: a success of another release is none."""
        release, generation, output = decided.get("release"), decided.get("generation"), decided.get("output")
        outcome = DeployResult(
            result=DECISIONS[str(decided["event"])],
            at=str(decided.get("at")),
            release=release if isinstance(release, str) else None,
            generation=generation if isinstance(generation, int) else None,
            reason=str(decided.get("reason") or ""),
            output=[str(line) for line in output] if isinstance(output, list) else [],
        )
        if outcome.result != FAILED and self._release not in {None, outcome.release}:
            return outcome._replace(result=FAILED, reason=f"superseded by {outcome.release}, which is live")
        return outcome
