"""What systemd is told of the agent: sd_notify(3), with nothing but a socket.

systemd takes it from the service's main process alone (``NotifyAccess=main``).  So the agent that is upgraded names the
next main process, and the next one speaks from then on.
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

_BEAT_SECONDS = 10.0
"""Between two signs of life where systemd asks for none."""
_RETRY_SECONDS = 0.5
_LAST_SECONDS = 10.0
"""To send what is left in the end."""
_PATIENCE_SECONDS = 30.0
"""What a reload may take longer, counted from each sign of life."""
_SLACK_SECONDS = 10.0
"""For a stop to reap, and to write what it has to."""
_TEXT_CHARS = 300

_DECIDED = {"deploy.succeeded", "deploy.rolled_back", "deploy.failed"}


def notify(**fields: object) -> bool:
    """Tell systemd; never waits.

    Args:
        fields: such as ``READY=1`` or ``MAINPID=4711``, in one message.

    Returns:
        Whether it was sent, or there is nobody to tell; False where systemd is behind with reading.
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
    """After how long without a sign of life systemd ends process ``pid``, if it does: sd_watchdog_enabled(3)."""
    usec = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    return int(usec) / 1e6 if is_ours and usec.isdecimal() and int(usec) > 0 else None


def describe(status: Mapping[str, Any]) -> str:
    """The line that ``systemctl status`` shows.

    Args:
        status: as ``status.json`` has it.
    """
    live = next((one for one in status["generations"] if one["id"] == status["live"]), None)
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
    """Tells systemd what the agent does, from the time that it is the agent until another is.

    What cannot be sent, as systemd is behind with reading, is sent a little later.
    """

    def __init__(self) -> None:
        self._watchdog_seconds = watchdog_seconds(os.environ, os.getpid())
        self._is_on = False
        self._status = ""
        self._unsent: dict[str, object] = {}
        self._asked_by_signal: set[object] = set()

    def ready(self) -> None:
        """The agent accepts."""
        self._is_on = True
        self._tell(READY=1, STATUS=self._status)

    def status(self, status: Mapping[str, Any]) -> None:
        """Show what ``status.json`` says."""
        text = describe(status)
        if text != self._status:
            self._status = text
            self._tell(STATUS=text)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See an event of the journal: a deploy by signal is what systemd calls a reload."""
        deploy = fields.get("deploy")
        if name == "deploy.requested" and fields.get("trigger") == "signal":
            self._asked_by_signal.add(deploy)
            self._tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        elif name in _DECIDED and deploy in self._asked_by_signal:
            self._asked_by_signal.discard(deploy)
            if not self._asked_by_signal:
                self._tell(READY=1)

    def stopping(self, seconds: float) -> None:
        """The agent stops, which may take so many seconds beside the reaping."""
        self._asked_by_signal.clear()
        self._tell(STOPPING=1, EXTEND_TIMEOUT_USEC=_usec(seconds + _SLACK_SECONDS))

    def hand_over(self, pid: int) -> None:
        """The main process is another, which speaks from now on."""
        self._tell(MAINPID=pid, WATCHDOG=1)
        self._is_on = False

    async def run(self) -> None:
        """Give a sign of life from the loop that serves, at least twice as often as systemd wants one."""
        try:
            await self._keep_beating()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + _LAST_SECONDS, shield=True):
                while self._unsent:  # the name of the next main process above all
                    await trio.sleep(_RETRY_SECONDS)
                    self._send()

    async def _keep_beating(self) -> None:
        while "NOTIFY_SOCKET" in os.environ:
            beat_seconds = min(_BEAT_SECONDS, (self._watchdog_seconds or _BEAT_SECONDS * 2) / 2)
            with trio.move_on_after(beat_seconds):
                while True:
                    await trio.sleep(min(_RETRY_SECONDS, beat_seconds))
                    self._send()
            self._beat()

    def _beat(self) -> None:
        patience = {"EXTEND_TIMEOUT_USEC": _usec(_PATIENCE_SECONDS)} if self._asked_by_signal else {}
        self._tell(WATCHDOG=1, STATUS=self._status, **patience)

    def _tell(self, **fields: object) -> None:
        if self._is_on:
            for name in fields:
                self._unsent.pop(name, None)  # so that what is told last comes last
            self._unsent |= fields
            self._send()

    def _send(self) -> None:
        if self._unsent and notify(**self._unsent):
            self._unsent = {}


def _usec(seconds: float) -> int:
    return round(seconds * 1e6)
