"""Notifications to systemd about the agent's state: sd_notify(3), sent over a plain socket.

systemd accepts them only from the service's main process (``NotifyAccess=main``).  So during an upgrade, the old agent
names the new main process, and only the new agent sends notifications from then on.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEARTBEAT_SECONDS = 10.0
"""The time between two keep-alive messages if systemd has no watchdog for the service."""
_RETRY_SECONDS = 0.5
_LAST_SECONDS = 10.0
"""How long to try to send the remaining messages at the end."""
_PATIENCE_SECONDS = 30.0
"""How much longer a reload may take, counted from each keep-alive message."""
_SLACK_SECONDS = 10.0
"""The time that a stop needs, besides draining, to reap processes and write files."""
_TEXT_CHARS = 300

_DECIDED = {"deploy.succeeded", "deploy.rolled_back", "deploy.failed"}


def notify(**fields: object) -> bool:
    """Send one message to systemd, without ever waiting.

    Args:
        fields: the assignments of the message, such as ``READY=1`` or ``MAINPID=4711``.

    Returns:
        False if the message could not be sent, because systemd's queue is full; True also without systemd.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return True
    message = "\n".join(f"{name}={value}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            name = "\0" + address[1:] if address[0] == "@" else address
            sock.sendto(message.encode(errors="backslashreplace"), name)
    except OSError:
        return False
    return True


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog timeout of the process ``pid``, or None if it has none: sd_watchdog_enabled(3).

    Args:
        environ: the environment that systemd started the service with.
        pid: of the process.
    """
    usec = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    return int(usec) / 1e6 if is_ours and usec.isdecimal() and int(usec) > 0 else None


def describe(status: Mapping[str, Any]) -> str:
    """Return the line that ``systemctl status`` shows.

    Args:
        status: the content of ``status.json``.
    """
    live = next((entry for entry in status["generations"] if entry["id"] == status["live"]), None)
    text = f"{Path(live['release']).name} is live (generation {live['id']})" if live else "nothing is live"
    last, deploying = status["last_deploy"], status.get("deploying")
    if any(warning["kind"] == "waiting" for warning in status.get("warnings", ())):
        text = "waiting for the first release"
    elif deploying is not None:
        text += f"; deploying {Path(deploying['release'] or '?').name}: {deploying['step'].replace('_', ' ')}"
    elif last is not None and last["result"] == "failed":
        text += f"; the last deploy failed: {last['reason']}"
    return " ".join(text.split())[:_TEXT_CHARS]


class SystemdNotifier:
    """The sender of the agent's state to systemd, from the start until another agent takes over.

    Messages that do not fit into systemd's queue are sent a little later.

    Attributes:
        is_present: whether systemd has started the agent as a service that notifies it.
    """

    def __init__(self) -> None:
        self.is_present = "NOTIFY_SOCKET" in os.environ
        self._watchdog_seconds = watchdog_seconds(os.environ, os.getpid())
        self._is_on = False
        self._status = ""
        self._unsent: dict[str, object] = {}
        self._requested_by_signal: set[object] = set()

    def notify_ready(self) -> None:
        """Report that the agent accepts connections."""
        self._is_on = True
        self._queue(READY=1, STATUS=self._status)

    def publish_status(self, status: Mapping[str, Any]) -> None:
        """Show the content of ``status.json`` in one line of ``systemctl status``."""
        text = describe(status)
        if text != self._status:
            self._status = text
            self._queue(STATUS=text)

    def on_event(self, name: str, fields: Mapping[str, object]) -> None:
        """Report the beginning and the end of a deploy by signal as a reload; called at each event of the journal.

        Args:
            name: of the event, such as ``deploy.requested``.
            fields: of the event.
        """
        deploy = fields.get("deploy")
        if name == "deploy.requested" and fields.get("trigger") == "signal":
            self._requested_by_signal.add(deploy)
            self._queue(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        elif name in _DECIDED and deploy in self._requested_by_signal:
            self._requested_by_signal.discard(deploy)
            if not self._requested_by_signal:
                self._queue(READY=1)

    def notify_stopping(self, seconds: float) -> None:
        """Report that the agent stops, which may take ``seconds`` until the apps have ended."""
        self._requested_by_signal.clear()
        self._queue(STOPPING=1, EXTEND_TIMEOUT_USEC=_usec(seconds + _SLACK_SECONDS))

    def hand_over(self, pid: int) -> None:
        """Name the process ``pid`` as the main process, and send nothing more."""
        self._queue(MAINPID=pid, WATCHDOG=1)
        self._is_on = False

    async def run(self) -> None:
        """Send keep-alive messages until cancelled, at least twice as often as systemd's watchdog requires."""
        try:
            await self._send_heartbeats()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + _LAST_SECONDS, shield=True):
                while self._unsent:  # above all MAINPID
                    await trio.sleep(_RETRY_SECONDS)
                    self._send()

    async def _send_heartbeats(self) -> None:
        while "NOTIFY_SOCKET" in os.environ:
            heartbeat_seconds = min(_HEARTBEAT_SECONDS, (self._watchdog_seconds or _HEARTBEAT_SECONDS * 2) / 2)
            with trio.move_on_after(heartbeat_seconds):
                while True:
                    await trio.sleep(min(_RETRY_SECONDS, heartbeat_seconds))
                    self._send()
            self._send_heartbeat()

    def _send_heartbeat(self) -> None:
        patience = {"EXTEND_TIMEOUT_USEC": _usec(_PATIENCE_SECONDS)} if self._requested_by_signal else {}
        self._queue(WATCHDOG=1, STATUS=self._status, **patience)

    def _queue(self, **fields: object) -> None:
        if self._is_on:
            for name in fields:
                self._unsent.pop(name, None)  # a later assignment of a field must come last in the message
            self._unsent |= fields
            self._send()

    def _send(self) -> None:
        if self._unsent and notify(**self._unsent):
            self._unsent = {}


def _usec(seconds: float) -> int:
    return round(seconds * 1e6)
