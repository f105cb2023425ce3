from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from rainbowd.address import Address, TcpAddress, UnixAddress
from rainbowd.deploy.host import listening_sockets
from rainbowd.deploy.host.listening_sockets import ListeningSockets, listeners, owns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME = [os.getpid()]
NOBODY: list[int] = []


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(sockets: ExitStack, host: str, port: int = 0, *, dual: bool = False) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = sockets.enter_context(closing(socket.socket(family)))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    server.bind((host, port))
    server.listen()
    return int(server.getsockname()[1])


def stranger(sockets: ExitStack, host: str, port: int = 0) -> tuple[int, int]:
    """Another process that listens: its number and its port."""
    serve = """
import socket, sys
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen()
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-S", "-c", serve, host, str(port)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sockets.enter_context(process)
    sockets.callback(process.kill)
    assert process.stdout is not None
    return process.pid, int(process.stdout.readline())


@pytest.mark.parametrize(
    ("host", "dual"),
    [("127.0.0.1", False), ("0.0.0.0", False), ("::", True), ("::ffff:127.0.0.1", True), ("::ffff:0.0.0.0", True)],
)
def test_a_socket_that_a_connect_reaches_is_owned_by_who_holds_it(sockets: ExitStack, host: str, dual: bool) -> None:
    port = listen(sockets, host, dual=dual)
    with closing(socket.create_connection(("127.0.0.1", port))):
        assert owns(ME, TcpAddress("127.0.0.1", port)) is True
    assert owns(NOBODY, TcpAddress("127.0.0.1", port)) is False


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_a_socket_elsewhere_does_not_count(sockets: ExitStack, host: str) -> None:
    port = listen(sockets, host)
    assert owns(ME, TcpAddress("127.0.0.1", port)) is False


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_address_of_version_six_is_reached_by_its_own_sockets(sockets: ExitStack, host: str) -> None:
    port = listen(sockets, host)
    assert owns(ME, TcpAddress("::1", port)) is True


def test_a_bound_socket_that_does_not_listen_is_none(sockets: ExitStack) -> None:
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        assert owns(ME, TcpAddress("127.0.0.1", bound.getsockname()[1])) is False


def test_nobody_owns_a_port_where_nobody_listens(sockets: ExitStack) -> None:
    port = listen(sockets, "127.0.0.1")
    sockets.close()
    assert owns(ME, TcpAddress("127.0.0.1", port)) is False


def test_a_strangers_socket_is_not_ours_and_the_strangers_pid_owns_it(sockets: ExitStack) -> None:
    pid, port = stranger(sockets, "127.0.0.1")
    assert owns(ME, TcpAddress("127.0.0.1", port)) is False
    assert owns([*ME, pid], TcpAddress("127.0.0.1", port)) is True


@pytest.mark.parametrize("ours", ["0.0.0.0", "::"])
def test_a_stranger_at_the_very_address_hides_our_socket_at_any(sockets: ExitStack, ours: str) -> None:
    port = listen(sockets, ours, dual=True)
    stranger(sockets, "127.0.0.1", port)
    assert owns(ME, TcpAddress("127.0.0.1", port)) is False


def test_a_strangers_socket_at_any_does_not_hide_ours_at_the_very_address(sockets: ExitStack) -> None:
    _, port = stranger(sockets, "0.0.0.0")
    listen(sockets, "127.0.0.1", port)
    assert owns(ME, TcpAddress("127.0.0.1", port)) is True


def test_a_socket_that_is_shared_is_owned_by_each_of_its_holders() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = TcpAddress("127.0.0.1", server.getsockname()[1])
        with subprocess.Popen(["sleep", "60"], pass_fds=[server.fileno()]) as worker:
            assert owns([worker.pid], address) is True
            assert owns(ME, address) is True
            worker.kill()


def unix_listen(sockets: ExitStack, path: str) -> None:
    server = sockets.enter_context(closing(socket.socket(socket.AF_UNIX)))
    server.bind(path)
    server.listen()


def test_a_unix_socket_is_owned_by_who_holds_it(sockets: ExitStack, tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "a sock")
    assert owns(ME, address) is False
    unix_listen(sockets, str(address.path))
    assert owns(ME, address) is True
    assert owns(NOBODY, address) is False


def test_a_unix_socket_bound_by_another_name_cannot_be_recognised(
    sockets: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unix_listen(sockets, "sock")
    assert owns(ME, UnixAddress(tmp_path / "sock")) is None
    assert owns(NOBODY, UnixAddress(tmp_path / "sock")) is False


def test_listening_addresses_are_shown_in_the_form_of_the_config(sockets: ExitStack, tmp_path: Path) -> None:
    first = listen(sockets, "127.0.0.1")
    second = listen(sockets, "::1")
    unix_listen(sockets, str(tmp_path / "sock"))
    found = listeners(ME)
    assert {f"127.0.0.1:{first}", f"[::1]:{second}", f"unix:{tmp_path}/sock"} <= set(found.addresses)
    assert found.addresses == sorted(found.addresses)
    assert not found.hidden


def test_a_process_that_has_ended_listens_nowhere() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert listeners([ended.pid]) == ListeningSockets([], hidden=False)


def test_descriptors_that_proc_hides_leave_the_question_open(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = stranger(sockets, "127.0.0.1")

    def hidden(descriptors: Path) -> Iterator[int]:
        raise PermissionError(13, "Permission denied", str(descriptors))

    monkeypatch.setattr(listening_sockets, "_sockets", hidden)
    assert owns(ME, TcpAddress("127.0.0.1", port)) is None
    assert listeners(ME) == ListeningSockets([], hidden=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's eyes")
def test_another_users_descriptors_are_hidden(sockets: ExitStack) -> None:
    pid, port = stranger(sockets, "127.0.0.1")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(writer, repr(owns([pid], TcpAddress("127.0.0.1", port))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"None"
    os.close(reader)
    os.close(writer)


def test_a_socket_of_a_kernel_without_version_six(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for table in "tcp", "unix":
        (tmp_path / table).symlink_to(f"/proc/self/net/{table}")
    port = listen(sockets, "127.0.0.1")
    monkeypatch.setattr(listening_sockets, "_NET", tmp_path)
    address: Address = TcpAddress("127.0.0.1", port)
    assert owns(ME, address) is True


@pytest.mark.parametrize(
    "name",
    [
        "\0only\n",
        "\0a\nffff: 00000002 00000000 00010000 0001 01 777 /forged",
        "\0a\n\rb\r\n\n",
        "\0a\n0: 1 2 3\n",
    ],
)
def test_a_socket_whose_name_has_line_ends_breaks_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as odd, socket.socket(socket.AF_UNIX) as ours:
        odd.bind(name)
        odd.listen()
        ours.bind(str(path))
        ours.listen()
        assert owns([os.getpid()], UnixAddress(path))
        assert not owns([os.getpid()], UnixAddress(tmp_path / "other"))


def test_a_descriptor_whose_path_is_too_long_to_name_hides_no_socket(sockets: ExitStack, tmp_path: Path) -> None:
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=deep)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    port = listen(sockets, "127.0.0.1")
    assert owns(ME, TcpAddress("127.0.0.1", port)) is True
    os.close(deep)
