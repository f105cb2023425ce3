"""Which events of the journal belong to the deploy that a command requested.  Plain functions: no files, no clock.

A command requests a deploy through files, so the agent cannot answer with the id of the deploy.  These rules find it:

1. The command writes an id into the trigger file, and the agent puts it into ``deploy.requested``, next to the deploy's
   own id.  The event with our request's id names our deploy.  Requests that are merged share one deploy.
2. The agent reads the file about 10 ms after it was written.  If somebody replaces it within that time, our id never
   appears.  Then the first deploy that was requested after we had written everything is ours: it reads the files later
   than we wrote them, as if the agent had merged both requests.
3. Rule 2 applies as soon as the command sees that the trigger file has changed.  If the agent has read our id after
   all, rule 1 still wins as long as the other deploy has no outcome.
4. The deploy of an agent's start is ours as well, if it was requested later.  So is the deploy that a switch of the
   link to our release starts: an agent whose config was changed may watch a different trigger file.
5. If no deploy appears, because the file was deleted, the command writes it again, after some seconds.  To do that at
   once would launch the same release once for each of the commands that replaced each other's files.

A deploy that rules 2 to 4 find may succeed with another release than ours.  For us that is a failure, "superseded by".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rainbowd.report.history import RESULTS

if TYPE_CHECKING:
    from rainbowd.report.journal import Event

FAILED = "failed"


class DeployResult(NamedTuple):
    """The outcome of a deploy.

    Attributes:
        result: a value of ``history.RESULTS``.
        at: when the deploy ended.
        release: the release that was deployed.
        generation: the id of the candidate or of the live generation; None if there was none.
        reason: why the deploy failed.
        output: the last lines of the app or of the hook that failed.
        is_rollback: the deploy was a rollback.
    """

    result: str
    at: str
    release: str | None
    generation: int | None
    reason: str | None
    output: list[str]
    is_rollback: bool = False


class DeployTracker:
    """The search for the events of one deploy, by the rules above.

    Args:
        request: the id of our request; None if the trigger file is turned off, and the link alone requests the deploy.
        release: the release that we requested; None for the one that the link names.
        requested_at: when the last file was written: RFC 3339 in UTC with milliseconds, rounded up.

    Attributes:
        deploy: the id of our deploy; None as long as it is unknown.
        outcome: how our deploy ended; None until it has.
        is_replaced: another request took the place of ours, so its deploy counts as ours: rule 2.
        is_baking: the generation of our deploy is live, and the deploy has no outcome yet.
    """

    def __init__(self, request: str | None, release: str | None, requested_at: str) -> None:
        self.deploy: str | None = None
        self.outcome: DeployResult | None = None
        self.is_replaced = request is None
        self._request = request
        self._release = release
        self._requested_at = requested_at
        self._is_certain = False
        self._events: list[Event] = []
        self._generations: set[object] = set()
        self.is_baking = False

    @classmethod
    def for_deploy(cls, deploy: str) -> DeployTracker:
        """Return a tracker of the deploy with this id, whichever release it deploys."""
        tracker = cls(None, None, "")
        tracker.deploy, tracker._is_certain = deploy, True
        return tracker

    def read(self, events: list[Event]) -> list[Event]:
        """Return the events of our deploy, in order, including those that were read before it was known to be ours.

        Its outcome is the last one: what follows depends on how soon the journal is read.

        Args:
            events: the next events of the journal.
        """
        self._events += events
        chosen = self._find_deploy()
        if chosen is None:
            return []
        if chosen != self.deploy:
            self.deploy = chosen
            self._generations.clear()
            self.is_baking = False
        unread, self._events = self._events, []
        ours = [event for event in unread if self._is_ours(event)]
        end = next((index for index, event in enumerate(ours) if event["event"] in RESULTS), None)
        if end is None:
            return ours
        self.outcome = self._evaluate(ours[end])
        return ours[: end + 1]

    def _find_deploy(self) -> str | None:
        """Return the id of our deploy; None as long as it is unknown."""
        if self._is_certain:
            return self.deploy
        requests = [event for event in self._events if event["event"] == "deploy.requested" and event.get("deploy")]
        own = next((event for event in requests if self._request and event.get("request") == self._request), None)
        if own is not None:
            self._is_certain = True
        elif self.deploy is not None:
            return self.deploy
        else:
            later = (event for event in requests if str(event.get("at", "")) >= self._requested_at)
            own = next((event for event in later if self._counts_as_ours(event)), None)
        return None if own is None else str(own.get("deploy"))

    def _counts_as_ours(self, event: Event) -> bool:
        """Return whether a request that was made later than ours has the same effect: rules 2 to 4."""
        if self.is_replaced or event.get("trigger") == "start":
            return True
        is_switch_to_ours = event.get("trigger") == "symlink" and event.get("release") == self._release
        return self._release is not None and is_switch_to_ours

    def _is_ours(self, event: Event) -> bool:
        name, generation = str(event["event"]), event.get("generation")
        if event.get("deploy") == self.deploy:
            if name == "generation.launched":
                self._generations.add(generation)
            self.is_baking &= name not in RESULTS
            return True
        if name == "generation.live" and generation not in self._generations:
            return self.is_baking  # it is live again, because ours has failed
        self.is_baking |= name == "generation.live"
        return name.startswith("generation.") and generation in self._generations

    def _evaluate(self, event: Event) -> DeployResult:
        """Return the outcome for our request: a success of a different release is a failure."""
        release, generation, output = event.get("release"), event.get("generation"), event.get("output")
        outcome = DeployResult(
            result=RESULTS[str(event["event"])],
            at=str(event.get("at")),
            release=release if isinstance(release, str) else None,
            generation=generation if isinstance(generation, int) else None,
            reason=str(event.get("reason") or ""),
            output=[str(line) for line in output] if isinstance(output, list) else [],
            is_rollback=event.get("rollback") is True,
        )
        if outcome.result != FAILED and self._release not in {None, outcome.release}:
            return outcome._replace(result=FAILED, reason=f"superseded by {outcome.release}, which is live")
        return outcome
