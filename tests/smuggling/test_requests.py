"""What the app receives is what the client sent, read in one way only.

``SMUGGLING_EXAMPLES=2500`` searches a hundred times as long, elsewhere each time.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.proxy.scripted import Peer, Setting, setting
from tests.smuggling.hostile import TAG, messages, table
from tests.smuggling.strict import Ambiguous, Read, Reader, Unfinished, read_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN = (b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"x-request-start")
NEVER = (b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings")
AT_A_TIME = 16


class Recorder:
    """An app that reads as strictly as can be, remembers, and answers."""

    def __init__(self) -> None:
        self.requests: list[Read] = []
        self.unreadable: list[bytes] = []

    async def serve(self, peer: Peer) -> None:
        data = b""
        with contextlib.suppress(OSError):
            while more := await peer.sock.recv(65536):
                data += more
                reader = Reader(data)
                with contextlib.suppress(Unfinished):
                    while data:
                        self.requests.append(reader.request())
                        data, reader = data[reader.at :], Reader(data[reader.at :])
                        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if data.strip(b"\r\n"):
            with contextlib.suppress(Unfinished):
                Reader(data).request()


async def pass_through(cases: Sequence[bytes]) -> None:
    """Send each case on a connection of its own, and compare."""
    recorder = Recorder()
    answers: dict[int, bytes] = {}
    async with setting() as here:
        here.nursery.start_soon(accept, here, recorder)
        limiter = trio.CapacityLimiter(AT_A_TIME)
        async with trio.open_nursery() as nursery:
            for number, case in enumerate(cases):
                nursery.start_soon(ask, here, limiter, tagged(case, number), answers, number)
    for number, case in enumerate(cases):
        judge(tagged(case, number), number, recorder.requests, answers[number])
    assert all(b"case-" in request.target for request in recorder.requests)


async def accept(here: Setting, recorder: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(recorder.serve, await here.app.accept())


async def ask(
    here: Setting, limiter: trio.CapacityLimiter, data: bytes, answers: dict[int, bytes], number: int
) -> None:
    async with limiter:
        client = await here.client()
        answers[number] = b""
        with contextlib.suppress(OSError):
            for piece in in_two(data, number):
                await client.send(piece)
                await trio.lowlevel.checkpoint()
            await client.fin()
            while more := await client.sock.recv(65536):
                answers[number] += more
        client.close()


def in_two(data: bytes, number: int) -> tuple[bytes, bytes]:
    """Each case is split elsewhere."""
    at = number * 7919 % len(data)
    return data[:at], data[at:]


def tagged(case: bytes, number: int) -> bytes:
    return case.replace(TAG, b"case-%d-" % number)


def judge(sent: bytes, number: int, received: Sequence[Read], answer: bytes) -> None:
    """Nothing that the client did not send, nothing read in two ways, nothing behind an error."""
    mine = [request for request in received if b"case-%d-" % number in request.target]
    meant, clear = read_requests(sent)
    assert len(mine) <= len(meant), (sent, mine)
    for request, original in zip(mine, meant, strict=False):
        assert (request.method, request.target, request.body) == (original.method, original.target, original.body), sent
        assert [len(request.all(name)) for name in OWN] == [1] * len(OWN), sent
        assert not any(request.all(name) for name in NEVER) or request.all(b"upgrade") == [b"websocket"], sent
        assert hop_by_hop(request) in ([], [b"upgrade"], [b"te", b"trailers"]), sent
        assert len(request.all(b"x-forwarded-for")) == 1, sent
    statuses = [response.status for response in read_answers(answer, meant)]
    refused = [status for status in statuses if status >= 400]
    assert statuses.count(200) <= len(mine), (sent, statuses)
    assert not refused or statuses[-1] == refused[0], (sent, statuses)
    if not clear and not refused:
        assert len(mine) <= len(meant), sent


def hop_by_hop(request: Read) -> list[bytes]:
    """What is said of the connection: an upgrade, that trailers are welcome, or nothing."""
    return [value.lower() for name in (b"connection", b"te") for value in request.all(name)]


def read_answers(answer: bytes, meant: Sequence[Read]) -> list[Read]:
    """The responses on a connection; the client knows by its own requests which have no body."""
    reader = Reader(answer)
    responses: list[Read] = []
    methods = [request.method for request in meant]
    while reader.at < len(answer):
        method = methods[len(responses)] if len(responses) < len(methods) else b"GET"
        try:
            responses.append(reader.response(method))
        except (Ambiguous, Unfinished):
            break
    return responses


def test_no_known_vector_smuggles_anything() -> None:
    cases = table()
    assert len(cases) > 3000
    for start in range(0, len(cases), 400):
        trio.run(pass_through, cases[start : start + 400])


@settings(
    max_examples=int(os.environ.get("SMUGGLING_EXAMPLES", "25")),
    derandomize="SMUGGLING_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # a case that fails is small enough as it is
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(messages(), min_size=40, max_size=40))
def test_no_mutation_smuggles_anything(cases: list[bytes]) -> None:
    trio.run(pass_through, cases)
