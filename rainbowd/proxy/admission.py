"""The admission of new requests: all, none because of maintenance, or later because of a pause.

While all requests are admitted, this costs nothing.  Otherwise the roster gives no leases, so each request reaches the
code that holds requests, and that code checks the admission.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.http1 import Refusal
from rainbowd.proxy.client_identity import is_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.proxy.settings import Network
    from rainbowd.roster import LeaseHolder, Roster

DEFAULT_CONTENT = b"The site is down for maintenance.\n"


class UnderMaintenance(Refusal):
    """The answer to every request during maintenance.

    Args:
        content: the complete body.
        retry_after_seconds: for the ``Retry-After`` field.
    """

    def __init__(self, content: bytes, retry_after_seconds: int) -> None:
        super().__init__(503, "The site is down for maintenance.", retry_after_seconds=retry_after_seconds)
        self.content = content


@dataclass(frozen=True)
class Maintenance:
    """The maintenance of a site.

    Attributes:
        content: the body of the answers; empty for a short text.
        retry_after_seconds: for the ``Retry-After`` field.
        allow: the networks whose clients pass.
    """

    content: bytes
    retry_after_seconds: int
    allow: Sequence[Network] = ()


class Admission:
    """The decision for each request whether it passes, waits, or is refused.

    Args:
        roster: gives no leases while requests are not admitted.

    Attributes:
        maintenance: what is answered during maintenance; None without maintenance.
        pause_seconds: how long a request waits at most during a pause; None without a pause.
    """

    def __init__(self, roster: Roster) -> None:
        self.maintenance: Maintenance | None = None
        self.pause_seconds: float | None = None
        self._roster = roster

    def set(self, maintenance: Maintenance | None, pause_seconds: float | None) -> None:
        """Close or open the site; requests that wait are checked again.

        Args:
            maintenance: the answer to every request; None without maintenance.
            pause_seconds: how long a request waits at most during a pause; None without a pause.
        """
        self.maintenance, self.pause_seconds = maintenance, pause_seconds
        if maintenance is None and pause_seconds is None:
            self._roster.open()
        else:
            self._roster.close(self._admits)

    def hold_seconds(self, default: float) -> float:
        """Return how long a request waits at most: ``default``, or the seconds of the pause."""
        return default if self.pause_seconds is None else self.pause_seconds

    def check(self, holder: LeaseHolder) -> None:
        """Check whether the request of ``holder`` may wait.

        Raises:
            UnderMaintenance: it may not.
        """
        rules = self.maintenance
        if rules is not None and not is_within(holder.client_identity("client"), rules.allow):
            raise UnderMaintenance(rules.content or DEFAULT_CONTENT, rules.retry_after_seconds)

    def _admits(self, holder: LeaseHolder) -> bool:
        if self.pause_seconds is not None or self.maintenance is None:
            return False
        return is_within(holder.client_identity("client"), self.maintenance.allow)
