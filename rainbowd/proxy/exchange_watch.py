"""What ends an exchange early: its time limits, the end of the client's connection, and a cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import Refusal
from rainbowd.proxy.failures import AppBroke, ClientGone
from rainbowd.proxy.fiber import checkpoint

if TYPE_CHECKING:
    from rainbowd.proxy.claim import Claim
    from rainbowd.proxy.client import Client
    from rainbowd.proxy.context import Context
    from rainbowd.proxy.upload import Upload

CLIENT_LEFT_SECONDS = 1.0
"""How long the app may be silent after the client's FIN, which both a closed tab and a half-closed client send."""


class ExchangeWatch:
    """The time limits and interruptions of one exchange.

    Args:
        client: has the time limit; its end is watched.
        claim: the exchange's claim on the app, which may wait.
        upload: the request's body, on its way.
        context: has the settings.

    Attributes:
        has_begun: whether the final response has begun.
        is_complete: whether the complete response was relayed.
    """

    __slots__ = ("_claim", "_client", "_context", "_limits", "_upload", "has_begun", "is_complete")

    def __init__(self, client: Client, claim: Claim, upload: Upload, context: Context) -> None:
        self.has_begun = False
        self.is_complete = False
        self._client = client
        self._claim = claim
        self._upload = upload
        self._context = context
        self._limits = context.settings.limits

    def interrupt(self, exception: Exception) -> None:
        """Raise ``exception`` at the current wait: for the app, for a generation, or for a slow client."""
        wire = self._client.wire
        waits_on = wire if wire.is_sending else self._claim.waits_on
        if waits_on is None or not waits_on.interrupt(exception):
            wire.interrupt(exception)  # it was just woken, and can next wait for the client or for the app

    def cut(self) -> None:
        """End the exchange, so that the client can tell it from a complete response."""
        late = Refusal(504, "The app was stopped before it answered.")
        self.interrupt(AppBroke("the drain timeout was reached") if self.has_begun else late)

    async def yield_turn(self) -> None:
        """Let all other fibers run, and raise a pending interruption, which otherwise only a wait would raise."""
        await checkpoint(self._context.reactor)
        self._client.wire.raise_interruption()
        self._claim.raise_interruption()

    # --- time limits ----------------------------------------------------------------------------------------------

    def start_response_timeout(self) -> None:
        """Start the time limit for the app to begin its response; after that it may take any time.

        After an early response, the limit is for reading the rest of the request.
        """
        if self.has_begun and not self.is_complete:
            self._client.disarm()
        else:
            self._client.arm(self._limits.response_timeout, self._on_response_timeout)

    def start_body_timeout(self) -> None:
        """Start the time limit for the next part of the request's body."""
        self._client.arm(self._limits.body_timeout, self._on_body_timeout)

    def _on_response_timeout(self) -> None:
        self.interrupt(Refusal(504, "The app did not answer in time."))

    def _on_body_timeout(self) -> None:
        wire = self._client.wire
        if wire.is_receiving:
            wire.interrupt(Refusal(408, "The body did not arrive in time."))

    # --- the client's end -----------------------------------------------------------------------------------------

    def check_client_end(self) -> None:
        """Handle the end of the client's connection, if it came while no event handler was set."""
        if self._client.wire.has_ended:
            self.on_client_ended()

    def on_client_ended(self) -> None:
        """End the exchange at a reset. After a FIN, start a time limit, because the client may still read."""
        client = self._client
        if client.wire.is_gone:
            self.interrupt(ClientGone())
        elif self.has_begun:
            client.arm(CLIENT_LEFT_SECONDS, self._on_client_left)
        elif self._upload.is_done:
            client.arm_earlier(CLIENT_LEFT_SECONDS, self._on_client_left)

    def _on_client_left(self) -> None:
        """End the exchange after the client's FIN and the app's silence, unless the client is still reading."""
        client = self._client
        if client.wire.is_sending:
            client.arm(CLIENT_LEFT_SECONDS, self._on_client_left)
        else:
            self.interrupt(ClientGone())
