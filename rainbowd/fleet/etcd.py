"""etcd as the engine of a fleet, through its JSON gateway: the only module that connects to it.

Only what can be sent twice is sent to a second endpoint: reads, leases with an id of our own, and guarded transactions.
A write without a guard could be carried out after a later one, because a request that timed out is still on its way.
"""

from __future__ import annotations

import contextlib
import email.utils
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import trio

from rainbowd.fleet import credentials, gateway
from rainbowd.fleet.engine import ABSENT, EngineAway, EngineError, EngineRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from rainbowd.config import FleetSettings
    from rainbowd.fleet.engine import Snapshot
    from rainbowd.fleet.gateway import Message

ANSWER_SECONDS = 2.0
"""How long an endpoint may take: one whose leader has just died holds a write for 7 s and then refuses it."""

SILENCE_SECONDS = 60.0
"""After how long without a change a watch is opened again, because a frozen node never ends it."""


ANSWER_BYTES = 16 * 1024 * 1024
"""The longest answer that is read; a large fleet with a full history needs a sixteenth of that."""


@dataclass(frozen=True)
class Node:
    """The properties that one node reports.

    Attributes:
        version: of etcd.
        skew_seconds: how far its clock is ahead of ours; None if it does not report its time.
    """

    version: str
    skew_seconds: float | None


class Etcd:
    """A client of one etcd cluster, for one fleet.

    Args:
        settings: the endpoints and the credentials.

    Raises:
        EngineRefused: the password or a certificate cannot be read, or other accounts can.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._endpoints = list(settings.endpoints)
        self._prefix = f"{settings.prefix}{settings.name}/"
        self._ttl = settings.ttl
        self._credentials = credentials.password(settings)
        self._token: str | None = None
        self._lease: int | None = None
        self._http = httpx.AsyncClient(
            trust_env=False,  # a proxy of the environment would get the password
            follow_redirects=False,
            verify=credentials.tls(settings),
            limits=httpx.Limits(max_connections=8),
            headers={"Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    # --- the four operations --------------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """Return all keys of the fleet, as a majority of etcd knows them."""
        answer = await self._call("/v3/kv/range", gateway.range_request(self._prefix))
        return gateway.snapshot(answer, self._prefix)

    async def commit(self, guards: Mapping[str, int], puts: Mapping[str, str | None]) -> bool:
        """Write several keys in one transaction; see ``Engine``."""
        assert guards, "a write without a guard could be carried out late"
        return await self._commit(guards, puts, None)

    async def presence(self, key: str, value: str, guard: int) -> bool:
        """Renew the lease of ``key``, and write the key if it is absent or the lease is new; see ``Engine``."""
        lease = self._lease
        is_new = lease is None or not await self._renew(lease)
        if lease is None or is_new:
            lease = secrets.randbits(62) | 1
            await self._grant(lease)
        is_kept = not (is_new or guard == ABSENT) or await self._commit({key: guard}, {key: value}, lease)
        self._lease = lease if is_kept else None
        return is_kept

    async def wake(self, revision: int, notify: Callable[[Sequence[str]], None]) -> None:
        """Call ``notify`` after each change, until the watch ends for whatever reason; see ``Engine``."""
        body = gateway.watch_request(self._prefix, revision)
        headers = {**self._authorization(), "Grpc-Metadata-Hasleader": "true"}
        limits = httpx.Timeout(ANSWER_SECONDS, read=SILENCE_SECONDS)
        url = f"{self._endpoints[0]}/v3/watch"
        rest = b""
        with contextlib.suppress(httpx.HTTPError), trio.CancelScope() as reading:
            async with self._http.stream("POST", url, json=body, headers=headers, timeout=limits) as response:
                async for chunk in response.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    found = [gateway.watched_keys(line.decode(errors="replace"), self._prefix) for line in lines]
                    if keys := [key for some in found for key in some or ()]:
                        notify(keys)
                    if None in found or len(rest) > ANSWER_BYTES:
                        reading.cancel()  # at its next read, which closes the response's generators in their own task

    # --- for checks -------------------------------------------------------------------------------------------------

    async def inspect(self, endpoint: str) -> Node:
        """Return the properties of the node at ``endpoint``, whether it has a quorum or not.

        Raises:
            EngineError: it does not answer, or is not etcd.
        """
        status, headers, text = await self._request("GET", f"{endpoint}/version")
        if status != httpx.codes.OK:
            raise EngineError(f"found the HTTP status {status}; expected the version of etcd")
        version = str(gateway.parse(text).get("etcdserver", "unknown"))[:40]
        try:
            at = email.utils.parsedate_to_datetime(headers.get("date", "")).timestamp()
        except ValueError:
            return Node(version, None)
        return Node(version, at - time.time())

    # --- requests ---------------------------------------------------------------------------------------------------

    async def _commit(self, guards: Mapping[str, int], puts: Mapping[str, str | None], lease: int | None) -> bool:
        answer = await self._call("/v3/kv/txn", gateway.transaction(self._prefix, guards, puts, lease))
        return answer.get("succeeded") is True

    async def _grant(self, lease: int) -> None:
        seconds = max(2, round(self._ttl))
        await self._call("/v3/lease/grant", {"ID": str(lease), "TTL": str(seconds)})

    async def _renew(self, lease: int) -> bool:
        """Return whether the lease still exists: the answer for one that does not has no TTL."""
        answer = await self._call("/v3/lease/keepalive", {"ID": str(lease)})
        return "TTL" in answer.get("result", {})

    async def _call(self, path: str, body: Message) -> Message:
        """Send a request to one endpoint after the other, until one answers.

        Raises:
            EngineAway: none does.
            EngineRefused: one refuses the request.
        """
        reasons: list[str] = []
        is_retried = False
        attempts = 0
        while attempts < len(self._endpoints) + 1:
            try:
                return await self._post(path, body)
            except gateway.Unauthenticated as error:
                self._token = None
                if is_retried or self._credentials is None:
                    raise EngineRefused(str(error)) from None
                is_retried = True  # each endpoint lets a token expire by its own clock
            except EngineAway as error:
                attempts += 1
                reasons.append(f"{self._endpoints[0]}: {error}")
                self._endpoints.append(self._endpoints.pop(0))
        raise EngineAway("; ".join(dict.fromkeys(reasons)))

    async def _post(self, path: str, body: Message) -> Message:
        if self._credentials is not None and self._token is None:
            name, password = self._credentials
            answer = await self._send("/v3/auth/authenticate", {"name": name, "password": password}, {})
            self._token = str(answer.get("token", ""))
        return await self._send(path, body, self._authorization())

    async def _send(self, path: str, body: Message, headers: Mapping[str, str]) -> Message:
        """Send one request to the present endpoint."""
        status, _, text = await self._request("POST", f"{self._endpoints[0]}{path}", json=body, headers=headers)
        if status == httpx.codes.OK:
            return gateway.parse(text)
        if path == "/v3/lease/grant" and gateway.has_lease(text):
            return {}  # an earlier endpoint has carried it out, and its answer was lost
        gateway.raise_error(status, text)
        raise AssertionError

    async def _request(self, method: str, url: str, **content: Any) -> tuple[int, Mapping[str, str], str]:
        """Return the status, the headers and the text of an answer.

        Raises:
            EngineAway: there is none in time.
            EngineError: it is longer than anything that a fleet writes.
        """
        data = bytearray()
        try:
            with trio.fail_after(ANSWER_SECONDS), trio.CancelScope() as reading:
                async with self._http.stream(method, url, timeout=ANSWER_SECONDS, **content) as response:
                    async for chunk in response.aiter_bytes():
                        data += chunk
                        if len(data) > ANSWER_BYTES:
                            reading.cancel()  # see ``wake``
        except trio.TooSlowError:
            raise EngineAway(f"no answer within {ANSWER_SECONDS:g} s") from None
        except httpx.HTTPError as error:
            raise EngineAway(_describe(error)) from None
        if len(data) > ANSWER_BYTES:
            raise EngineError(f"found an answer of more than {ANSWER_BYTES >> 20} MiB; expected the keys of one fleet")
        return response.status_code, response.headers, data.decode(errors="replace")

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": self._token} if self._token else {}


def _describe(error: httpx.HTTPError) -> str:
    """Describe why a connection failed."""
    text = str(error) or type(error).__name__
    return "no answer in time" if isinstance(error, httpx.TimeoutException) else text
