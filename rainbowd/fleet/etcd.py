"""etcd as the engine of a fleet, through its JSON gateway: the only module that connects to it.

Only what can be sent twice is sent to a second endpoint: reads, leases with an id of our own, and guarded transactions.
A write without a guard could be carried out after a later one, because a request that timed out is still on its way.
"""

from __future__ import annotations

import contextlib
import email.utils
import secrets
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import trio

from rainbowd.fleet import gateway
from rainbowd.fleet.engine import ABSENT, EngineAway, EngineRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from rainbowd.config import FleetSettings
    from rainbowd.fleet.engine import Snapshot
    from rainbowd.fleet.gateway import Message

ANSWER_SECONDS = 2.0
"""How long an endpoint may take: one whose leader has just died holds a write for 7 s and then refuses it."""

SILENCE_SECONDS = 60.0
"""After how long without a change a watch is opened again, because a frozen node never ends it."""


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
        EngineRefused: the password or a certificate cannot be read.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._endpoints = list(settings.endpoints)
        self._prefix = f"{settings.prefix}{settings.name}/"
        self._ttl = settings.ttl
        self._credentials = _credentials(settings)
        self._token: str | None = None
        self._lease: int | None = None
        self._http = httpx.AsyncClient(trust_env=False, verify=_tls(settings), limits=httpx.Limits(max_connections=8))

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
        with contextlib.suppress(httpx.HTTPError), trio.CancelScope() as reading:
            async with self._http.stream("POST", url, json=body, headers=headers, timeout=limits) as response:
                async for line in response.aiter_lines():
                    keys = gateway.watched_keys(line, self._prefix)
                    if keys is None:
                        reading.cancel()  # at its next read, which closes the response's generators in their own task
                    elif keys:
                        notify(keys)

    # --- for checks -------------------------------------------------------------------------------------------------

    async def inspect(self, endpoint: str) -> Node:
        """Return the properties of the node at ``endpoint``, whether it has a quorum or not.

        Raises:
            EngineError: it does not answer, or is not etcd.
        """
        try:
            response = await self._http.get(f"{endpoint}/version", timeout=ANSWER_SECONDS)
        except httpx.HTTPError as error:
            raise EngineAway(_describe(error)) from None
        version = str(gateway.parse(response.text).get("etcdserver", "unknown"))
        at = email.utils.parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else None
        return Node(version, None if at is None else at.timestamp() - time.time())

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
        url = f"{self._endpoints[0]}{path}"
        try:
            with trio.fail_after(ANSWER_SECONDS):
                response = await self._http.post(url, json=body, headers=headers, timeout=ANSWER_SECONDS)
        except trio.TooSlowError:
            raise EngineAway(f"no answer within {ANSWER_SECONDS:g} s") from None
        except httpx.HTTPError as error:
            raise EngineAway(_describe(error)) from None
        if response.status_code == httpx.codes.OK:
            return gateway.parse(response.text)
        if path == "/v3/lease/grant" and gateway.has_lease(response.text):
            return {}  # an earlier endpoint has carried it out, and its answer was lost
        gateway.raise_error(response.status_code, response.text)
        raise AssertionError

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": self._token} if self._token else {}


def _credentials(settings: FleetSettings) -> tuple[str, str] | None:
    if settings.user is None or settings.password_file is None:
        return None
    with _readable("password_file", settings.password_file):
        return settings.user, settings.password_file.read_text().strip()


def _tls(settings: FleetSettings) -> ssl.SSLContext | bool:
    """Return how certificates are verified."""
    if all(endpoint.startswith("http:") for endpoint in settings.endpoints):
        return False
    with _readable("ca_file", settings.ca_file):
        context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file is not None:
        with _readable("cert_file", settings.cert_file):
            context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


@contextlib.contextmanager
def _readable(key: str, path: object) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise EngineRefused(f"fleet.{key}: {path}: cannot be read: {error}") from None


def _describe(error: httpx.HTTPError) -> str:
    """Describe why a connection failed."""
    text = str(error) or type(error).__name__
    return "no answer in time" if isinstance(error, httpx.TimeoutException) else text
