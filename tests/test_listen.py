"""Listening sockets."""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path

import pytest

import rainbowd
from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.errors import UsageError
from rainbowd.listen import bind, close_all, inherited, open_listener

ANY_PORT = TcpAddress("127.0.0.1", 0)


def connect_to(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_an_address_tells_where_it_is() -> None:
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


def test_an_address_in_use_is_said_to_be() -> None:
    listener = open_listener(ANY_PORT)
    with pytest.raises(UsageError, match="another program listens there already"):
        open_listener(TcpAddress("127.0.0.1", listener.sock.getsockname()[1]))
    listener.close()


def test_an_address_of_another_machine_is_said_to_be() -> None:
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
def test_what_is_no_socket_stays(tmp_path: Path, kind: str) -> None:
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
def test_a_path_that_cannot_be_is_said_to_be(path: str) -> None:
    with pytest.raises(UsageError, match="cannot listen on unix:"):
        open_listener(UnixAddress(Path(path)))


# --- handed over ------------------------------------------------------------------------------------------------------


def hand_over(monkeypatch: pytest.MonkeyPatch, fd: int) -> dict[str, str]:
    """As systemd would: ``fd`` is the first of one descriptor."""
    monkeypatch.setattr("rainbowd.listen._FIRST_FD", fd)
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}


def test_a_listening_socket_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    fd = sock.detach()
    os.set_inheritable(fd, True)
    (listener,) = inherited(hand_over(monkeypatch, fd), os.getpid())
    assert not os.get_inheritable(fd)
    with socket.create_connection(listener.sock.getsockname()):
        pass
    close_all([listener])


@pytest.mark.parametrize("name", ["file", "abstract"])
def test_a_unix_socket_is_taken_over_and_left_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "sock"
    given = f"\0{path}" if name == "abstract" else str(path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(given)
    sock.listen()
    (listener,) = inherited(hand_over(monkeypatch, sock.detach()) | {"LISTEN_FDNAMES": "web:of:any:name"}, os.getpid())
    assert listener.address == f"unix:{'@' if name == 'abstract' else ''}{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(given)
    close_all([listener])
    assert path.exists() == (name == "file")  # it is the socket unit's


def test_several_are_taken_over_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fds = [socket.create_server(("127.0.0.1", 0)).detach() for _ in range(2)]
    assert fds[1] == fds[0] + 1
    environ = hand_over(monkeypatch, fds[0]) | {"LISTEN_FDS": "2"}
    listeners = inherited(environ, os.getpid())
    assert [listener.sock.fileno() for listener in listeners] == fds
    close_all(listeners)


def test_what_listens_for_packets_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "sock"))
        sock.listen()
        with pytest.raises(UsageError, match="is not a listening"):
            inherited(hand_over(monkeypatch, sock.fileno()), os.getpid())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_what_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, pytest.raises(UsageError, match="is not a listening"):
        inherited(hand_over(monkeypatch, sock.fileno()), os.getpid())


def test_what_is_no_socket_or_not_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with pytest.raises(UsageError, match="is not a listening"):
        inherited(hand_over(monkeypatch, reading), os.getpid())
    os.close(reading)
    os.close(writing)
    with pytest.raises(UsageError, match="is not a listening"):
        inherited(hand_over(monkeypatch, writing), os.getpid())


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "self", "LISTEN_FDS": "²"}],
)
def test_what_was_handed_to_somebody_else_is_left_alone(environ: dict[str, str]) -> None:
    environ = {key: str(os.getpid()) if value == "self" else value for key, value in environ.items()}
    assert inherited(environ, os.getpid()) == []


def test_a_unix_socket_has_its_mode_from_the_first_instant_whatever_the_umask_is(tmp_path: Path) -> None:
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
    assert set(found) <= {"removal.py"}, found  # which names the descriptor by its path in /proc
