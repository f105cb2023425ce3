"""What others may have a process of root's do in their place: tried with real agents and commands."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.live.agent import ROOT, command
from tests.security.site import is_there, site
from tests.security.test_files import give

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

FORGED_FIELDS = {
    "X.Real.IP": "EVIL",
    "X_Real_IP": "EVIL",
    "Client.IP": "EVIL",
    "X.Forwarded.User": "EVIL",
    "X-Forwarded-User": "EVIL",
    "x-real-ip": "EVIL",
    "Forwarded": "for=EVIL",
}
SHOWING = """
import http.server, sys
class Shows(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Shows).serve_forever()
"""
HOLDING = """
import fcntl, os, sys, time
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("holds", flush=True)
time.sleep(1000)
"""


def test_a_health_check_asks_no_socket_of_root(open_path: Path, record_property: Record) -> None:
    """The app makes a link to a socket of root's in place of its own, and the agent checks its health."""
    with socket.socket(socket.AF_UNIX) as of_root, site(open_path) as one:
        of_root.bind(str(open_path / "root.sock"))
        (open_path / "root.sock").chmod(0o600)
        of_root.listen()
        of_root.settimeout(0.1)
        run = ["sh", "-c", f'ln -s {open_path}/root.sock "$0"; sleep 60', "{socket}"]
        one.agent.configure(run=run, user=USER, health={"path": "/up", "deadline": 2}, drain={"kill_after": 1})
        failed = one.deploy("b")
        with pytest.raises(TimeoutError):
            of_root.accept()
        assert failed["event"] == "deploy.failed"
        assert one.get() == "1"
        record_property("got", failed["reason"])


def test_a_client_forges_no_field_of_a_proxy(open_path: Path, record_property: Record) -> None:
    """An untrusted client sends the fields that tell of a client and a user, also with dots and underscores."""
    run = [accounts.python(), "-c", SHOWING, "{port}"]
    with site(open_path, run=run, trust=[], health="/") as one:
        with contextlib.closing(http.client.HTTPConnection(one.agent.host, one.agent.port, timeout=60)) as connection:
            connection.request("GET", "/", headers=FORGED_FIELDS)
            shown = connection.getresponse().read().decode()
        assert "EVIL" not in shown
        record_property("got", f"none of {len(FORGED_FIELDS)} fields reached the app")


@pytest.mark.parametrize("words", [["upgrade"], ["stop"], ["rollback"]], ids=lambda w: w[0])
def test_root_signals_no_process_that_others_name(open_path: Path, words: list[str], record_property: Record) -> None:
    """The owner of a state directory holds its lock, names a process of root's there, and root runs a command."""
    with site(open_path) as one:
        state = open_path / "theirs"
        state.mkdir()
        victim = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        identity = json.loads((one.agent.state_dir / "agent.json").read_text())
        identity["pid"] = victim.pid
        stat = (open_path / f"/proc/{victim.pid}/stat").read_text()
        identity["start_time"] = int(stat.rpartition(")")[2].split()[19])
        (state / "agent.json").write_text(json.dumps(identity))
        (state / "lock").write_text(f"{victim.pid}\n")
        for path in (state, state / "agent.json", state / "lock"):
            give(path)
        config = json.loads((open_path / "rainbowd.json").read_text())
        (open_path / "second.json").write_text(json.dumps(config | {"state_dir": "theirs", "release": "current2"}))
        (open_path / "current2").symlink_to("releases/a")
        holder = one.attack(accounts.python(), "-c", HOLDING, str(state / "lock"), user=STRANGER)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        try:
            ended = subprocess.run(
                command(*words, "--config", str(open_path / "second.json")),
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert is_there(victim.pid)
            assert victim.poll() is None
            assert one.get() == "1"
            record_property("got", f"exit status {ended.returncode}: {ended.stderr.strip().splitlines()[-1][:150]}")
        finally:
            victim.kill()
            victim.wait()


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "b", "--no-wait"],
        ["deploy", "--no-wait"],
        ["rollback", "--no-wait"],
        ["maintenance", "on"],
        ["maintenance", "off"],
        ["pause"],
        ["resume"],
    ],
    ids=" ".join,
)
def test_root_replaces_no_file_and_no_link_that_a_config_of_others_names(
    open_path: Path, words: list[str], record_property: Record
) -> None:
    """A stranger's config names a file and a link of root's as those that a command replaces or removes."""
    with site(open_path) as one:
        assert one.deploy("b")["event"] == "deploy.succeeded"
        assert one.deploy("a")["event"] == "deploy.succeeded"
        preload, lib = open_path / "ld.so.preload", open_path / "lib"
        preload.write_text("of root's\n")
        lib.symlink_to("releases/a")
        forged = open_path / "forged.json"
        config: dict[str, object] = {
            "run": "x",
            "state_dir": "state",
            "trigger_file": str(preload),
            "release": str(lib),
        }
        config |= {"maintenance": {"file": str(preload)}, "pause_file": str(preload)}
        forged.write_text(json.dumps(config))
        give(forged)
        ended = subprocess.run(
            command(*words, "--config", str(forged)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (preload.read_text(), str(lib.readlink())) == ("of root's\n", "releases/a")
        assert ended.returncode == 2
        assert " as root: " in ended.stderr
        record_property("got", ended.stderr.strip().replace(str(open_path), "")[:150])
