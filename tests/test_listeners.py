"""Listening sockets."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rainbowd
from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.errors import UsageError
from rainbowd.listeners import bind, close_all, ephemeral_port_warnings, from_systemd, open_listener, open_listeners
from rainbowd.tcp_ports import ephemeral_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_PORT = TcpAddress("127.0.0.1", 0)


def connect_to(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_listener_has_the_address_it_listens_on() -> None:
    listener = open_listener(ANY_PORT)
    host, _, port = listener.address.partition(":")
    assert (host, int(port) > 0) == ("127.0.0.1", True)
    with socket.create_connection((host, int(port))):
        pass
    listener.close()


def test_ipv6_has_a_socket_of_its_own() -> None:
    try:
        listener = open_listener(TcpAddress("::1", 0))
    except UsageError:
        pytest.skip("this machine has no IPv6")
    assert listener.address.startswith("[::1]:")
    assert listener.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    listener.close()


def test_an_address_in_use_is_reported() -> None:
    listener = open_listener(ANY_PORT)
    with pytest.raises(UsageError, match="another program listens there already"):
        open_listener(TcpAddress("127.0.0.1", listener.sock.getsockname()[1]))
    listener.close()


@contextlib.contextmanager
def outgoing() -> Iterator[socket.socket]:
    """A connection that has a port as its own, as an outgoing one has; its other end stays open."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            yield client


def test_a_port_that_only_a_connection_uses_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.listeners.PATIENCE_SECONDS", 0.0)
    has_it = "no program listens there, but a connection uses this port as its local port"
    with outgoing() as client, pytest.raises(UsageError, match=has_it):
        open_listener(TcpAddress("127.0.0.1", client.getsockname()[1]))


def test_a_port_that_only_a_connection_has_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.listeners.PATIENCE_SECONDS", 60.0)
    said: list[str] = []

    def end_it(words: str) -> None:
        said.append(words)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
        client.close()

    with outgoing() as client:
        port = client.getsockname()[1]
        (listener,) = open_listeners(TcpAddress("127.0.0.1", port), report=end_it)
    assert listener.port == port
    assert said == [
        f"waiting for 127.0.0.1:{port}: no program listens there, but a connection uses this port as its local port"
    ]
    listener.close()


def test_a_port_that_a_program_listens_on_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.tcp_ports.time.sleep", lambda _seconds: pytest.fail("waits"))
    found = r"another program listens there already; use --listen for another address$"
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UsageError, match=found):
        open_listeners(TcpAddress("127.0.0.1", server.getsockname()[1]))


def test_every_address_of_a_name_is_listened_on_with_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET6, TcpAddress("::1", 0)), (socket.AF_INET, TcpAddress("127.0.0.1", 0))]
    monkeypatch.setattr("rainbowd.tcp_ports.resolve", lambda _host, _port: both)
    listeners = open_listeners(TcpAddress("localhost", 0))
    if len(listeners) < 2:
        pytest.skip("this machine has no IPv6")
    port = listeners[0].port
    assert [one.address for one in listeners] == [f"[::1]:{port}", f"127.0.0.1:{port}"]
    assert {one.configured for one in listeners} == {"localhost:0"}
    close_all(listeners)


def test_an_address_of_a_name_that_this_machine_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [(socket.AF_INET, TcpAddress("192.0.2.1", 0)), (socket.AF_INET, TcpAddress("127.0.0.1", 0))]
    monkeypatch.setattr("rainbowd.tcp_ports.resolve", lambda _host, _port: some)
    (listener,) = open_listeners(TcpAddress("app.example", 0))
    assert listener.address.startswith("127.0.0.1:")
    listener.close()
    monkeypatch.setattr("rainbowd.tcp_ports.resolve", lambda _host, _port: some[:1])
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0: this machine has no such address"):
        open_listeners(TcpAddress("app.example", 0))


def test_one_listener_takes_the_first_existing_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [
        (socket.AF_INET6, TcpAddress("::1", 0)),
        (socket.AF_INET, TcpAddress("192.0.2.1", 0)),
        (socket.AF_INET, TcpAddress("127.0.0.1", 0)),
    ]
    monkeypatch.setattr("rainbowd.tcp_ports.resolve", lambda _host, _port: some)
    listener = open_listener(TcpAddress("app.example", 0))
    assert listener.address.startswith("127.0.0.1:")
    listener.close()


def test_if_one_address_of_a_name_is_in_use_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        both = [(socket.AF_INET, TcpAddress("127.0.0.2", port)), (socket.AF_INET, TcpAddress("127.0.0.1", port))]
        monkeypatch.setattr("rainbowd.tcp_ports.resolve", lambda _host, _port: both)
        with pytest.raises(UsageError, match="another program listens there already"):
            open_listeners(TcpAddress("app.example", port))
        socket.create_server(("127.0.0.2", port)).close()


def test_an_unknown_name_is_reported() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on none\.invalid:1: "):
        open_listeners(TcpAddress("none.invalid", 1))


def test_a_port_that_outgoing_connections_get_is_warned_of() -> None:
    ephemeral, safe = TcpAddress("127.0.0.1", ephemeral_ports()[-1]), TcpAddress("127.0.0.1", ephemeral_ports()[0] - 1)
    (warning,) = ephemeral_port_warnings([ephemeral, safe, UnixAddress(Path("/x")), ANY_PORT])
    assert warning.startswith(f"listen: {ephemeral}: outgoing connections get the ports ")


def test_an_address_of_another_machine_is_reported() -> None:
    with pytest.raises(UsageError, match="this machine has no such address"):
        open_listener(TcpAddress("192.0.2.1", 0))


def test_an_address_that_was_just_left_can_be_taken_again() -> None:
    first = open_listener(ANY_PORT)
    port = first.sock.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    first.sock.setblocking(True)
    served, _ = first.sock.accept()
    served.close()  # the side that closes first is left in TIME_WAIT
    client.close()
    first.close()
    open_listener(TcpAddress("127.0.0.1", port)).close()


def test_a_unix_socket_is_for_all_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listener = open_listener(UnixAddress(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert listener.address == f"unix:{path}"
    connect_to(path)
    listener.close()
    assert not path.exists()
    listener.close()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    listener = open_listener(UnixAddress(path))
    connect_to(path)
    listener.close()


def test_a_unix_socket_in_use_stays(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listener = open_listener(UnixAddress(path))
    with pytest.raises(UsageError, match="another program listens there already"):
        open_listener(UnixAddress(path))
    connect_to(path)
    listener.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_file_that_is_not_a_socket_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        open_listener(UnixAddress(path))
    assert path.is_symlink() or path.exists()


def test_the_unix_socket_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    first = open_listener(UnixAddress(path))
    path.unlink()
    second = open_listener(UnixAddress(path))
    first.close()
    connect_to(path)
    second.close()


@pytest.mark.parametrize("path", ["/nowhere/at/all/sock", "/tmp/" + "x" * 200])
def test_an_impossible_path_is_reported(path: str) -> None:
    with pytest.raises(UsageError, match="cannot listen on unix:"):
        open_listener(UnixAddress(Path(path)))


# --- handed over ------------------------------------------------------------------------------------------------------


def hand_over(monkeypatch: pytest.MonkeyPatch, fd: int) -> dict[str, str]:
    """As systemd would: ``fd`` is the first of one descriptor."""
    monkeypatch.setattr("rainbowd.listeners._FIRST_FD", fd)
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}


def test_a_listening_socket_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    fd = sock.detach()
    os.set_inheritable(fd, True)
    (listener,) = from_systemd(hand_over(monkeypatch, fd), os.getpid())
    assert not os.get_inheritable(fd)
    with socket.create_connection(listener.sock.getsockname()):
        pass
    close_all([listener])


@pytest.mark.parametrize("name", ["file", "abstract"])
def test_a_unix_socket_is_taken_over_and_its_file_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "sock"
    given = f"\0{path}" if name == "abstract" else str(path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(given)
    sock.listen()
    (listener,) = from_systemd(
        hand_over(monkeypatch, sock.detach()) | {"LISTEN_FDNAMES": "web:of:any:name"}, os.getpid()
    )
    assert listener.address == f"unix:{'@' if name == 'abstract' else ''}{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(given)
    close_all([listener])
    assert path.exists() == (name == "file")  # it is the socket unit's


def test_several_are_taken_over_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fds = [500, 501]  # high, so that no other descriptor has these numbers
    for fd in fds:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            os.dup2(sock.fileno(), fd)
    environ = hand_over(monkeypatch, fds[0]) | {"LISTEN_FDS": "2"}
    listeners = from_systemd(environ, os.getpid())
    assert [listener.sock.fileno() for listener in listeners] == fds
    close_all(listeners)


def test_a_packet_socket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "sock"))
        sock.listen()
        with pytest.raises(UsageError, match="is not a listening"):
            from_systemd(hand_over(monkeypatch, sock.fileno()), os.getpid())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, pytest.raises(UsageError, match="is not a listening"):
        from_systemd(hand_over(monkeypatch, sock.fileno()), os.getpid())


def test_a_descriptor_that_is_not_an_open_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with pytest.raises(UsageError, match="is not a listening"):
        from_systemd(hand_over(monkeypatch, reading), os.getpid())
    os.close(reading)
    os.close(writing)
    with pytest.raises(UsageError, match="is not a listening"):
        from_systemd(hand_over(monkeypatch, writing), os.getpid())


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "self", "LISTEN_FDS": "²"}],
)
def test_sockets_for_another_process_are_left_alone(environ: dict[str, str]) -> None:
    environ = {key: str(os.getpid()) if value == "self" else value for key, value in environ.items()}
    assert from_systemd(environ, os.getpid()) == []


def test_a_unix_socket_has_its_mode_from_the_start_with_every_umask(tmp_path: Path) -> None:
    """No path is changed afterwards, which another file may be at by then."""
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        for mode in (0o666, 0o600):
            with socket.socket(socket.AF_UNIX) as sock:
                bind(sock, str(tmp_path / f"{umask}-{mode}"), mode=mode)
            assert stat.S_IMODE((tmp_path / f"{umask}-{mode}").stat().st_mode) == mode
        assert os.umask(before) == umask


def test_no_mode_is_ever_changed_by_a_path() -> None:
    """What is at a path may be another file by then: ``fchmod`` and what is open are meant."""
    package = Path(rainbowd.__file__).parent
    by_path = re.compile(r"\.chmod\(")
    found = {
        file.name: line.strip()
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if by_path.search(line) and "/proc/self/fd" not in line
    }
    assert set(found) <= {"tree_removal.py"}, found  # which names the descriptor by its path in /proc
