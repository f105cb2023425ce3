"""Calls of a real agent's API, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.live.agent import Agent

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What was answered: ``told`` is its JSON."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


class Caller:
    """Calls the API of ``agent``, which has its token where it makes it itself."""

    def __init__(self, agent: Agent, port: int) -> None:
        self.agent = agent
        self.port = port

    @property
    def token(self) -> str:
        return (self.agent.state_dir / "token").read_text().strip()

    def call(
        self, method: str, target: str, told: object = None, *, body: bytes | None = None, token: str | None = None
    ) -> Answer:
        """Make one call on a connection of its own; ``told`` is sent as JSON; ``token`` ``""`` sends none."""
        given = self.token if token is None else token
        fields = {"Authorization": f"Bearer {given}"} if given else {}
        if told is not None:
            fields["Content-Type"], body = "application/json", json.dumps(told).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, target, body, fields)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def until_it_listens(self) -> None:
        """Wait for the API: the first deploy may be decided before."""
        process = self.agent.process
        assert process is not None
        self.agent.wait_until(lambda: {} if str(self.port) in listening(process.pid) else None, "the API")

    def deploy(self, told: object = None, *, path: str = "/redeploy") -> Answer:
        """Ask for a deploy, and wait for its end."""
        return self.call("POST", f"{path}?wait=1", told)

    def events(self, last_id: str | None = None) -> Events:
        """Read the events as they come."""
        return Events(self.port, self.token, last_id)


class Events:
    """A stream of events."""

    def __init__(self, port: int, token: str, last_id: str | None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        lines = ["GET /events HTTP/1.1", "Host: api", f"Authorization: Bearer {token}"]
        lines += [f"Last-Event-ID: {last_id}"] if last_id else []
        self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        self._response = http.client.HTTPResponse(self._socket)
        self._response.begin()
        self.status = self._response.status
        self.last_id = last_id

    def read(self) -> dict[str, Any] | None:
        """Return the next event; None if the stream ended as it should."""
        found: dict[str, str] = {}
        while line := self._response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                found[name] = value
            elif "data" in found:
                self.last_id = found["id"]
                event: dict[str, Any] = json.loads(found["data"])
                assert event["event"] == found["event"]
                return event
        return None

    def until(self, name: str) -> list[str]:
        """Return the names of the events up to the next one of this name."""
        names: list[str] = []
        while not names or names[-1] != name:
            event = self.read()
            assert event is not None, f"the stream ended after {names}"
            names.append(event["event"])
        return names

    def close(self) -> None:
        self._response.close()
        self._socket.close()


def enabled(port: int, **keys: object) -> dict[str, Any]:
    """Return the key ``api`` of a config."""
    return {"api": {"enabled": True, "listen": f"127.0.0.1:{port}", **keys}}


def listening(pid: int) -> set[str]:
    """Return what a process listens on: ``PORT`` of TCP, and paths of Unix sockets."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(entry.readlink().name.removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.add(str(int(words[1].rpartition(":")[2], 16)))
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) & 0x10000 and words[6] in inodes:  # __SO_ACCEPTCON
            found.add(words[7] if len(words) > 7 else "unnamed")
    for name in ("udp", "udp6", "raw", "raw6"):
        lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        found |= {f"{name}:{line.split()[1]}" for line in lines if line.split()[9] in inodes}
    return found
