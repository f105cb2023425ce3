from __future__ import annotations

import gc
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import Address, TcpAddress, UnixAddress
from rainbowd.config import Health, StatusRanges
from rainbowd.deploy.host.health import BODY_BYTES, QUOTED_BYTES, Prober, until_healthy
from rainbowd.errors import DeployFailed
from rainbowd.roster import Generation
from tests.proxy.scripted import setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Script = Callable[[trio.SocketStream], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CREATED_ONLY = StatusRanges.parse("201")


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """What a probe leaves behind warns when it is collected, and warnings are errors."""
    yield
    gc.collect()


@dataclass
class App:
    address: Address
    heads: list[bytes] = field(default_factory=list)
    closed: list[bytes] = field(default_factory=list)


def saying(answer: bytes, *, then_hang: bool = False) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(answer)
        if then_hang:
            await stream.receive_some()

    return script


def dripping(start: bytes, drop: bytes) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(start)
        while True:
            await stream.send_all(drop)
            await trio.sleep(0.01)

    return script


@asynccontextmanager
async def app(script: Script, path: Path | None = None) -> AsyncIterator[App]:
    """A server that follows ``script`` once it has read the head of a request, then closes."""
    family = socket.AF_INET if path is None else socket.AF_UNIX
    listening = trio.socket.socket(family)
    await listening.bind(("127.0.0.1", 0) if path is None else str(path))
    listening.listen()
    here: Address = UnixAddress(path) if path else TcpAddress("127.0.0.1", listening.getsockname()[1])
    server = App(here)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            server.heads.append(head)
            try:
                await script(stream)
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
        with trio.fail_after(20):
            yield server
        nursery.cancel_scope.cancel()


async def seen_of(answer: bytes, **settings: object) -> str | None:
    async with app(saying(answer)) as server:
        return await problem(server.address, **settings)


async def problem(address: Address, **settings: object) -> str | None:
    return (await Prober().probe(address, health(**settings))).problem


def health(**settings: object) -> Health:
    return Health.model_validate({"path": "/up", **settings})


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil closed",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 299 Odd\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    ],
)
async def test_a_status_in_the_range_is_healthy(answer: bytes) -> None:
    assert await seen_of(answer) is None


async def test_the_configured_status_decides() -> None:
    unauthorized = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    assert await seen_of(unauthorized, status="200-299,401") is None
    assert "401 Unauthorized" in str(await seen_of(unauthorized))
    assert "200 OK" in str(await seen_of(OK, status="401"))


async def test_a_redirect_is_not_followed_and_its_location_is_told() -> None:
    async with app(saying(b"HTTP/1.1 301 Moved Permanently\r\nLocation: /login\r\n\r\n")) as server:
        seen = await problem(server.address)
        expected = f"{server.address} answered 301 Moved Permanently, Location '/login' ("
        assert str(seen).startswith(expected)
        assert len(server.heads) == 1
        assert await problem(server.address, status="200,301") is None


async def test_a_400_hints_at_the_host() -> None:
    seen = await seen_of(b"HTTP/1.1 400 Bad Request\r\n\r\nDisallowedHost", host="app.example")
    assert seen is not None
    assert "400 Bad Request: 'DisallowedHost'" in seen
    assert "'app.example'" in seen
    assert "health.host" in seen


async def test_a_refusal_names_the_line_of_the_config_that_helps() -> None:
    assert "set health.path" in str(await seen_of(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


async def test_a_failure_of_the_app_s_own_hints_at_nothing() -> None:
    assert "set health" not in str(await seen_of(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"))


async def test_the_first_bytes_of_an_error_are_quoted_as_plain_text() -> None:
    body = b"no such\x1b[31m table\r\n\x00\xff" + b"x" * 100_000
    seen = await seen_of(b"HTTP/1.1 500 Oops\r\n\r\n" + body)
    assert seen is not None
    assert "500 Oops: 'no such table\\r\\n\\x00\N{REPLACEMENT CHARACTER}xxx" in seen
    assert seen.isprintable()
    assert len(seen) < 2 * QUOTED_BYTES


async def test_an_endless_error_is_read_no_further_than_is_quoted() -> None:
    async with app(dripping(b"HTTP/1.1 500 Oops\r\n\r\n", b"y" * 100)) as server:
        seen = await problem(server.address, timeout=3600)
    assert f"500 Oops: '{'y' * QUOTED_BYTES}'" in str(seen)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_silence_before_or_inside_the_head_ends_by_the_time_limit(start: bytes) -> None:
    async with app(saying(start, then_hang=True)) as server:
        seen = await problem(server.address, timeout=0.05)
        assert seen == f"no answer from {server.address} within 0.05 s"


async def test_a_head_that_drips_cannot_stretch_the_time_limit() -> None:
    async with app(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x")) as server:
        seen = await problem(server.address, timeout=0.1)
        assert seen == f"no answer from {server.address} within 0.1 s"


async def test_a_body_that_drips_cannot_stretch_the_time_limit_and_is_quoted_as_far_as_it_came() -> None:
    async with app(dripping(b"HTTP/1.1 503 Busy\r\n\r\nwarming up", b"")) as server:
        seen = await problem(server.address, timeout=0.1)
        assert seen == f"{server.address} answered 503 Busy: 'warming up'"


async def test_a_body_that_pauses_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.deploy.host.health.BODY_SECONDS", 0.05)
    async with app(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", then_hang=True)) as server:
        assert await problem(server.address, timeout=3600) is None


async def test_an_endless_healthy_body_is_read_no_further_than_to_see_that_it_can_be_passed_on() -> None:
    async with app(dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"y" * BODY_BYTES)) as server:
        assert await problem(server.address, timeout=3600) is None


async def test_an_error_whose_body_breaks_off_is_still_told() -> None:
    seen = await seen_of(b"HTTP/1.1 500 Oops\r\nContent-Length: 9999\r\n\r\nTraceback")
    assert "500 Oops: 'Traceback'" in str(seen)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the connection was closed without one"),
        (b"HTTP/1.1 200", "it ended within its header"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it is not HTTP"),
        (b"\x00\xff" * 1000, "it is not HTTP"),
        (b"\r\n" + OK, "its status line cannot be read"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "it switches protocols"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "its header cannot be read"),
        (b"HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 2\r\n\r\nok", "its header cannot be read"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", "Transfer-Encoding"),
    ],
)
async def test_an_answer_that_the_proxy_refuses_is_not_healthy_for_the_reason_that_it_logs(
    answer: bytes, why: str
) -> None:
    seen = await seen_of(answer)
    assert seen is not None
    assert ": the answer cannot be used: " in seen
    assert why in seen
    assert seen.isprintable()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nno chunks at all", "a chunk size is not valid"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", "a chunk size is not valid"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "it ended before its last chunk"),
        (b"Content-Length: 9\r\n\r\nhello", "it ended before its Content-Length"),
    ],
)
async def test_a_healthy_status_is_not_enough_if_the_body_cannot_be_passed_on(body: bytes, why: str) -> None:
    seen = await seen_of(b"HTTP/1.1 200 OK\r\n" + body)
    assert str(seen).endswith(f"answered 200 OK, but the answer cannot be used: {why}")


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 3\n\nok\n", id="every line ends with LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\nok\n", id="the last line ends with LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\n\nok\n", id="CGI"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", id="length twice"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", id="folded field"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x1fb\r\nContent-Length: 2\r\n\r\nok", id="control byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x0bb\r\nContent-Length: 2\r\n\r\nok", id="vertical tab"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/2.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nok\r\n0\r\n\r\n", id="padded chunk size"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok", id="no chunks"),
        pytest.param(b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", id="leading empty line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", id="plain"),
    ],
)
async def test_the_check_and_a_client_of_the_proxy_always_agree(shape: bytes) -> None:
    async with setting(live=False) as here, app(saying(shape)) as server:
        is_healthy = await problem(server.address) is None
        generation = Generation(1, Path(), server.address)
        here.roster.add(generation)
        here.roster.promote(generation, live_at=0.0)
        client = await here.client()
        message = await client.ask(b"GET /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert is_healthy == (message.status == 200)


async def test_a_head_without_end_is_given_up() -> None:
    async with app(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536)) as server:
        seen = await problem(server.address, timeout=3600)
        assert str(seen).endswith("the answer cannot be used: its header is too large")


async def test_a_refused_connection_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        address = TcpAddress("127.0.0.1", taken.getsockname()[1])
        assert await problem(address) == f"{address}: Connection refused"


async def test_a_connection_to_itself_counts_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.socket.socket() as sock:
        kind = type(sock)
    connect = kind.connect

    async def connect_from_there(sock: trio.socket.SocketType, address: tuple[str, int]) -> None:
        await sock.bind(address)
        await connect(sock, address)

    monkeypatch.setattr(kind, "connect", connect_from_there)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = TcpAddress(*free.getsockname())
    assert await problem(address) == f"{address}: Connection refused"


async def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    address = UnixAddress(path)
    assert await problem(address) == f"{address}: No such file or directory"
    async with app(saying(OK), path) as server:
        assert await problem(server.address) is None
        assert server.heads[0].startswith(b"GET /up HTTP/1.1\r\nHost: localhost\r\n")
    assert await problem(address) == f"{address}: Connection refused"


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await seen_of(OK) is None


async def test_the_host_and_the_headers_wanted_are_sent_and_the_path_as_written() -> None:
    async with app(saying(OK)) as server:
        wanted = health(
            path="/a/../up//%2F?x=[1]&y=a b#é",
            host="app.example",
            headers={"X-Forwarded-Proto": "https", "user-agent": "probe/1"},
        )
        assert (await Prober().probe(server.address, wanted)).problem is None
        lines = server.heads[0].split(b"\r\n")
        assert lines[0] == b"GET /a/../up//%2F?x=[1]&y=a%20b#%C3%A9 HTTP/1.1"
        assert b"Host: app.example" in lines
        assert b"X-Forwarded-Proto: https" in lines
        names = [line.partition(b":")[0].lower() for line in lines[1:-2]]
        assert sorted(names) == sorted(set(names))
        assert b"probe/1" in server.heads[0]
        assert b"python-httpx" not in server.heads[0]


async def test_each_probe_has_a_connection_of_its_own_and_closes_it() -> None:
    ends: list[bytes] = []

    async def keep_alive(stream: trio.SocketStream) -> None:
        await stream.send_all(OK)
        ends.append(await stream.receive_some())

    async with app(keep_alive) as server:
        prober = Prober()
        for _ in range(3):
            assert (await prober.probe(server.address, health())).problem is None
        while len(ends) < 3:
            await trio.lowlevel.checkpoint()
    assert ends == [b"", b"", b""]
    assert not any(b"connection:" in head.lower() for head in server.heads)  # as the proxy asks


async def test_cookies_are_not_kept_between_probes() -> None:
    async with app(saying(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n")) as server:
        prober = Prober()
        for _ in range(2):
            await prober.probe(server.address, health())
        assert not any(b"cookie" in head.lower() for head in server.heads)


# --- until_healthy, on virtual time -------------------------------------------------------------------------


class Scripted:
    """Sees what it is told to, the last of it for ever, and notes when it was asked."""

    def __init__(self, *seen: str | None, takes_seconds: float = 0) -> None:
        self.seen = list(seen)
        self.takes_seconds = takes_seconds
        self.asked_at: list[float] = []

    async def ask(self) -> str | None:
        self.asked_at.append(trio.current_time())
        await trio.sleep(self.takes_seconds)
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]


async def test_the_first_healthy_answer_is_enough_by_default(autojump: None) -> None:
    prober = Scripted("refused", "refused", None)
    await until_healthy(prober.ask, health())
    assert len(prober.asked_at) == 3


async def test_probes_begin_often_and_slow_down_to_the_interval(autojump: None) -> None:
    start = trio.current_time()
    prober = Scripted(*["refused"] * 24, None)
    await until_healthy(prober.ask, health(interval=0.25))
    times = [start, *prober.asked_at]
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:4] == pytest.approx([0.01, 0.012, 0.0144, 0.01728])
    assert pauses[-5:] == pytest.approx([0.25] * 5)
    assert pauses == pytest.approx(sorted(pauses))


async def test_an_interval_shorter_than_the_first_pause_is_kept(autojump: None) -> None:
    start = trio.current_time()
    prober = Scripted("refused", None)
    await until_healthy(prober.ask, health(interval=0.001))
    assert [at - start for at in prober.asked_at] == pytest.approx([0.001, 0.002])


async def test_passes_are_counted_in_a_row(autojump: None) -> None:
    prober = Scripted(None, None, "answered 500", None, None, None)
    await until_healthy(prober.ask, health(passes=3))
    assert len(prober.asked_at) == 6


async def test_the_deadline_ends_it_with_what_was_last_seen(autojump: None) -> None:
    start = trio.current_time()
    with pytest.raises(DeployFailed, match=r"^not healthy within 7 s; last seen: answered 500$"):
        await until_healthy(Scripted("refused", "answered 500").ask, health(deadline=7))
    assert trio.current_time() - start == pytest.approx(7)


async def test_a_probe_that_hangs_cannot_stretch_the_deadline(autojump: None) -> None:
    start = trio.current_time()
    with pytest.raises(DeployFailed, match="no answer yet"):
        await until_healthy(Scripted(None, takes_seconds=3600).ask, health(deadline=7))
    assert trio.current_time() - start == pytest.approx(7)


async def test_too_few_passes_by_the_deadline_are_told(autojump: None) -> None:
    with pytest.raises(DeployFailed, match="last seen: 1 healthy in a row, 2 wanted"):
        await until_healthy(Scripted(None, takes_seconds=4).ask, health(deadline=7, passes=2))
