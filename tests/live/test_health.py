"""A release that clients could not use, or whose socket is not its own, does not go live."""

from __future__ import annotations

import http.client
import shutil
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.accounts import USER, needs_root, python
from tests.live.agent import APP, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.agent import Agent, Event

pytestmark = pytest.mark.live

RAW = """
import pathlib, socketserver, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(pathlib.Path("answer").read_bytes())

print("\x1b[31mboot\x1b[0m\tbegins", flush=True)
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
HEALTH = {"path": "/up", "deadline": 6}


def deploy(agent: Agent, name: str) -> Event:
    since = len(agent.events())
    agent.flip(name)
    return agent.decision(since)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            ": the answer cannot be used: its header cannot be read",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok",
            " answered 200 OK, but the answer cannot be used: ",
        ),
    ],
)
def test_a_release_whose_every_answer_the_proxy_refuses_does_not_go_live(
    tmp_path: Path, answer: bytes, reason: str
) -> None:
    run = f"test -f raw.py && exec {sys.executable} raw.py $PORT; exec {sys.executable} {APP} $PORT"
    with running(tmp_path, run=run) as agent:
        release = agent.add_release("raw")
        (release / "raw.py").write_text(RAW)
        (release / "answer").write_bytes(answer)
        agent.configure(run=run, health=HEALTH)
        failed = deploy(agent, "raw")
        assert failed["event"] == "deploy.failed"
        assert reason in failed["reason"]
        assert failed["output"] == ["boot\tbegins"]
        connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        connection.request("GET", "/up")
        assert connection.getresponse().status == 200
        connection.close()


def test_answers_that_clients_no_longer_get_are_a_failure_of_the_live_release(tmp_path: Path) -> None:
    run = f"test -f raw.py && exec {sys.executable} raw.py $PORT; exec {sys.executable} {APP} $PORT"
    health = {"path": "/up", "liveness": {"interval": 0.1, "failures": 2}}
    with running(tmp_path, run=run, health=health) as agent:
        release = agent.add_release("raw")
        (release / "raw.py").write_text(RAW)
        (release / "answer").write_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        decided = deploy(agent, "raw")
        assert decided["event"] == "deploy.succeeded", decided
        (release / "answer").write_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok")
        agent.wait_for("deploy.requested", trigger="liveness")
        agent.wait_until(lambda: {} if "the answer cannot be used" in agent.output() else None, "its reason")


MISCHIEF = """
import fcntl, os, sys
F_SETPIPE_SZ = 1031
fcntl.fcntl(1, F_SETPIPE_SZ, 4096)
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
os.fchmod(1, 0)
own = os.path.dirname(os.environ["PIDFILE"])
os.mkfifo(os.environ["PIDFILE"])
for number in range(2000):
    open(os.path.join(own, "%0250d" % number), "w").close()
os.chmod(own, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@needs_root
def test_what_an_app_does_to_its_output_and_its_directory_stops_no_deploy_and_no_start(open_path: Path) -> None:
    shutil.copy(APP, open_path / "app.py")
    (open_path / "mischief.py").write_text(MISCHIEF)
    program = f"{python()} {open_path / 'app.py'} $PORT"
    run = (
        f"test -f mischief && exec {python()} {open_path / 'mischief.py'} {open_path / 'app.py'} $PORT; exec {program}"
    )
    with running(open_path, run=run, user=USER) as agent:
        (agent.add_release("mischief") / "mischief").touch()
        decided = deploy(agent, "mischief")
        assert decided["event"] == "deploy.succeeded", decided
        agent.kill()
        since = len(agent.events())
        agent.start()
        agent.wait_for("generation.adopted", since)
        assert deploy(agent, "b")["event"] == "deploy.succeeded"
        agent.wait_for("generation.retired", since, generation=2)
        agent.wait_until(
            lambda: None if [*agent.state_dir.glob("generation-2*")] else {"are": "gone"}, "no files of it"
        )


@contextmanager
def secret_service(path: Path) -> Iterator[list[bytes]]:
    """Run a service that only root may connect to, and yield what it has read."""
    read: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                with taken:
                    read.append(taken.recv(4096))
                    taken.sendall(b"HTTP/1.1 500 Oops\r\n\r\nSECRET")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield read
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


# Linux itself refuses the hard link, unless fs.protected_hardlinks is 0: proc_sys_fs(5).
@needs_root
@pytest.mark.parametrize("make", ["ln -s {path} $SOCKET", "ln {path} $SOCKET", "mv {path} $SOCKET"])
def test_an_app_cannot_have_root_ask_another_service(open_path: Path, make: str) -> None:
    shutil.copy(APP, open_path / "app.py")
    shared = open_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)  # so that the app may move what is there
    path = shared / "root.sock"
    attack = f"test -f attack && {{ {make.format(path=path)}; exec sleep 60; }}"
    run = f"{attack}; exec {python()} {open_path / 'app.py'} $SOCKET"
    with secret_service(path) as read, running(open_path, run=run, user=USER) as agent:
        agent.configure(run=run, user=USER, health=HEALTH)
        release = agent.add_release("attack")
        (release / "attack").touch()
        failed = deploy(agent, "attack")
        assert failed["event"] == "deploy.failed"
        assert "SECRET" not in (agent.state_dir / "journal.jsonl").read_text()
        assert read == []
