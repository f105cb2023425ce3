from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.deploy.host.connect import connect, is_tls, speaks_tls
from tests.accounts import needs_root, uid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def listening(path: Path, mode: int = 0o666, backlog: int = 10) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(backlog)
        yield listener


@contextmanager
def as_nobody() -> Iterator[None]:
    """In this process, as its effective user."""
    os.seteuid(uid())
    try:
        yield
    finally:
        os.seteuid(0)


async def why_not(path: Path) -> str:
    try:
        stream = await connect(UnixAddress(path))
    except OSError as refusal:
        return str(refusal.strerror)
    await stream.aclose()
    return "connected"


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    with listening(tmp_path / "sock") as listener:
        stream = await connect(UnixAddress(tmp_path / "sock"))
        await stream.send_all(b"hello")
        await stream.aclose()
        taken, _ = listener.accept()
        with taken:
            assert taken.recv(9) == b"hello"


async def test_what_is_no_socket_is_refused(tmp_path: Path) -> None:
    assert await why_not(tmp_path / "sock") == "No such file or directory"
    (tmp_path / "sock").mkdir()
    assert await why_not(tmp_path / "sock") == "Connection refused"


async def test_a_link_in_place_of_the_socket_is_not_followed(tmp_path: Path) -> None:
    with listening(tmp_path / "other") as other:
        other.setblocking(False)
        (tmp_path / "sock").symlink_to(tmp_path / "other")
        assert await why_not(tmp_path / "sock") == "the socket is a symbolic link, which rainbowd does not follow"
        with pytest.raises(BlockingIOError):
            other.accept()


@needs_root
@pytest.mark.parametrize("mode", [0o600, 0o666])
async def test_a_socket_of_root_s_in_an_app_s_directory_gets_nothing_to_read(open_path: Path, mode: int) -> None:
    directory = open_path / "generation-1"
    directory.mkdir(0o700)
    os.chown(directory, uid(), -1)
    with listening(directory / "sock", mode) as listener:
        why = await why_not(directory / "sock")
        assert why == ("Permission denied" if mode == 0o600 else "a process of another account (uid 0) listens there")
        listener.setblocking(False)
        if mode == 0o666:
            taken, _ = listener.accept()
            with taken:
                assert taken.recv(9) == b""
        else:
            with pytest.raises(BlockingIOError):
                listener.accept()


@needs_root
async def test_a_socket_of_the_app_s_own_account_is_connected_to(open_path: Path) -> None:
    directory = open_path / "generation-1"
    directory.mkdir(0o700)
    os.chown(directory, uid(), -1)
    with as_nobody(), listening(directory / "sock", 0o600):
        os.seteuid(0)
        await (await connect(UnixAddress(directory / "sock"))).aclose()


async def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    with listening(tmp_path / "sock", backlog=0) as listener:
        first = await connect(UnixAddress(tmp_path / "sock"))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:

                async def second() -> None:
                    await (await connect(UnixAddress(tmp_path / "sock"))).aclose()

                nursery.start_soon(second)
                await trio.testing.wait_all_tasks_blocked()
                listener.accept()[0].close()
        await first.aclose()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", True),
        (b"\x16\x03\x03\x00\x7a", True),
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"\x15", False),
        (b"", False),
    ],
)
def test_a_record_of_tls_is_told_by_its_first_bytes(data: bytes, expected: bool) -> None:
    assert is_tls(data) is expected


@contextmanager
def tls_server(tmp_path: Path) -> Iterator[TcpAddress]:
    """OpenSSL's own server, on a port of its choice."""
    certificate = tmp_path / "both.pem"
    make: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=a",
        "-keyout",
        certificate,
    ]
    made = subprocess.run([*make, "-out", "-"], capture_output=True, check=True).stdout
    certificate.write_bytes(certificate.read_bytes() + made)
    serve: list[str | Path] = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-www"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("ACCEPT"))
            yield TcpAddress("127.0.0.1", int(line.rpartition(":")[2]))
        finally:
            process.kill()


async def test_an_app_that_speaks_tls_is_found_to(tmp_path: Path) -> None:
    with tls_server(tmp_path) as address:
        assert await speaks_tls(address)


async def test_an_app_that_does_not_speak_tls_is_found_not_to(tmp_path: Path) -> None:
    assert not await speaks_tls(UnixAddress(tmp_path / "nobody"))
    async with trio.open_nursery() as nursery:

        async def close(stream: trio.SocketStream) -> None:
            await stream.aclose()

        (listener,) = await nursery.start(partial(trio.serve_tcp, close, 0, host="127.0.0.1"))
        assert not await speaks_tls(TcpAddress("127.0.0.1", listener.socket.getsockname()[1]))
        nursery.cancel_scope.cancel()
