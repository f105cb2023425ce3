"""What one client is answered never reaches another, whatever the app sends."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.proxy.scripted import Peer, Setting, setting
from tests.smuggling.responses import SECRET, answers, table
from tests.smuggling.strict import Ambiguous, LooseReader, Read, Reader, Unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

METHODS = (b"GET", b"HEAD")


async def answer_all(cases: Sequence[bytes]) -> None:
    """Have two clients in turn ask for each case, by the connections that are there, and compare."""
    got: list[tuple[bytes, bytes, bytes, bytes]] = []
    async with setting() as here:
        here.nursery.start_soon(accept, here, cases)
        client = await here.client()
        for number, case in enumerate(cases):
            for method in METHODS:
                secret = b"secret-%d-%b." % (number, method)
                answer, open_still = await ask(client, method, b"/%d/%b" % (number, secret))
                got.append((case, method, secret, answer))
                if not open_still:
                    client.close()
                    client = await here.client()
    for case, method, secret, answer in got:
        judge(case, method, secret, answer)


async def accept(here: Setting, cases: Sequence[bytes]) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(be_hostile, await here.app.accept(), cases)


async def be_hostile(peer: Peer, cases: Sequence[bytes]) -> None:
    """Answer, and close only where the proxy has to wait for that: what it can judge it has to judge at once."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            head = await peer.head()
            method, target, _ = head.line.split(b" ")
            _, number, secret = target.split(b"/")
            case = cases[int(number)].replace(SECRET, secret)
            await peer.send(case)
            if needs_an_end(case, method):
                peer.sock.shutdown(trio.socket.SHUT_WR)


def needs_an_end(case: bytes, method: bytes) -> bool:
    """Whether a reader has to wait for the end of the connection, or for more."""
    try:
        response = final(LooseReader(case), method)
    except Ambiguous:
        return False
    except Unfinished:
        return True
    return not is_delimited(response, method)


def is_delimited(response: Read, method: bytes) -> bool:
    """Whether it ends without the connection's end."""
    sized = response.all(b"content-length") or response.all(b"transfer-encoding")
    return bool(sized) or response.status in {204, 304} or method == b"HEAD"


async def ask(client: Peer, method: bytes, target: bytes) -> tuple[bytes, bool]:
    """What comes back, up to the end of the response or of the connection, and whether that is open still."""
    await client.send(b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target))
    data = b""
    with contextlib.suppress(OSError):
        while more := await client.sock.recv(65536):
            data += more
            reader = Reader(data)
            with contextlib.suppress(Unfinished):
                response = final(reader, method)
                if is_delimited(response, method):
                    return data, b"close" not in response.all(b"connection")
    return data, False


def final(reader: Reader, method: bytes) -> Read:
    response = reader.response(method)
    while response.status < 200 and response.status != 101:
        response = reader.response(method)
    return response


def judge(case: bytes, method: bytes, secret: bytes, answer: bytes) -> None:
    """The app's answer as it is, a 502 if it leaves a doubt, or one that is visibly cut; nobody else's secret."""
    assert set(re.findall(rb"secret-\d+-[A-Z]+\.", answer)) <= {secret}, (case, answer)
    reader = Reader(answer)
    try:
        response = final(reader, method)
    except Unfinished:
        return
    assert reader.at == len(answer), (case, answer)
    try:
        meant = final(LooseReader(case.replace(SECRET, secret)), method)
    except (Ambiguous, Unfinished):
        assert response.status == 502, (case, answer)
        return
    if meant.status == 101:  # nobody asked for it
        assert response.status == 502, (case, answer)
        return
    assert (response.status, response.body) == (meant.status, meant.body), (case, answer)
    assert response.all(b"x-secret") == meant.all(b"x-secret"), (case, answer)


def test_no_known_answer_reaches_another_client() -> None:
    cases = table()
    assert len(cases) > 1000
    for start in range(0, len(cases), 200):
        trio.run(answer_all, cases[start : start + 200])


@settings(
    max_examples=int(os.environ.get("SMUGGLING_EXAMPLES", "25")),
    derandomize="SMUGGLING_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(answers(), min_size=40, max_size=40))
def test_no_mutated_answer_reaches_another_client(cases: list[bytes]) -> None:
    trio.run(answer_all, cases)
