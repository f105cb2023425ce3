"""What other accounts read of an agent's secrets, and what they reach of the agent itself: tried on real agents."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, account, needs_root
from tests.live.agent import ROOT, command, free_port, pids
from tests.live.api import Caller
from tests.security.site import HERE, eventually, site

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

SECRETS = {"env": "s3cret-of-env", "env_file": "s3cret-of-file", "header": "s3cret-of-header"}
COMMANDS = ["check --verbose", "status --json", "history --json", "show --json", "status", "history", "show"]
PATHS = ["/", "/status", "/history", "/load", "/metrics", "/openapi.json"]


def test_no_secret_is_in_anything_that_others_read(open_path: Path, record_property: Record) -> None:
    """A reader of the state directory searches arguments, files, reports, the log and the API for secrets."""
    port, state = free_port(), open_path / "state"
    state.mkdir()
    os.chown(state, -1, account(STRANGER).gid)
    state.chmod(0o2750)
    (open_path / "secrets.env").write_text(f"FROM_FILE={SECRETS['env_file']}\n")
    (open_path / "secrets.env").chmod(0o600)
    config: dict[str, object] = {
        "env": {"FROM_ENV": SECRETS["env"]},
        "env_file": "secrets.env",
        "health": {"path": "/up", "headers": {"X-Key": SECRETS["header"]}, "deadline": 60},
        "api": {"enabled": True, "listen": f"127.0.0.1:{port}"},
    }
    with site(open_path, **config) as one:
        (open_path / "rainbowd.json").chmod(0o600)  # it has env and health.headers
        one.agent.flip("none")
        one.agent.wait_for("deploy.failed")
        assert one.deploy("b")["event"] == "deploy.succeeded"
        assert one.agent.upgrade()["event"] == "agent.upgraded"
        caller = Caller(one.agent, port)
        caller.until_it_listens()
        app = one.agent.status()["generations"][-1]["pid"]
        environ = Path(f"/proc/{app}/environ").read_bytes().decode()
        assert SECRETS["env"] in environ
        assert SECRETS["env_file"] in environ
        secrets = [*SECRETS.values(), caller.token, one.mark(2)["RAINBOWD_MARK"]]
        script = str(shutil.copy(HERE / "reader.py", open_path))
        reader = one.attack(accounts.python(), script, str(open_path), *map(str, pids()))
        files, _, text = reader.communicate(timeout=60)[0].partition("\n")
        assert int(files) > 0
        texts = {"what a reader reads": text, "the log": one.agent.output(10_000)}
        for words in COMMANDS:
            line = command(*words.split(), "--config", str(open_path / "rainbowd.json"))
            texts[words] = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        texts |= {path: caller.call("GET", path).body.decode() for path in PATHS}
        assert [(name, secret) for name, text in texts.items() for secret in secrets if secret in text] == []
        assert {"status.json", "journal.jsonl"} <= set(json.loads(text.partition("\n")[0]))
        record_property("got", f"none of {len(secrets)} secrets in {files} files and processes, {len(texts)} reports")


REACHING = """
import os, signal, socket, sys
agent, directory, *names = sys.argv[1:]
reached = []
for signum in (0, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGKILL):
    try:
        os.kill(int(agent), signum)
        reached.append(f"signal {signum}")
    except PermissionError:
        pass
try:
    reached.append(f"lists {os.listdir(directory)}")
except PermissionError:
    pass
for name in names:
    try:
        socket.socket(socket.AF_UNIX).connect(f"{directory}/{name}")
        reached.append(f"connects to {name}")
    except ConnectionRefusedError:
        reached.append(f"reaches {name}")
    except OSError:
        pass
    for flags in (os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY | os.O_NONBLOCK):
        try:
            os.open(f"{directory}/{name}", flags)
            reached.append(f"opens {name}")
        except OSError:
            pass
print(reached, flush=True)
"""


@pytest.mark.parametrize("user", [STRANGER, USER])
def test_no_other_account_reaches_the_agent(open_path: Path, user: str, record_property: Record) -> None:
    """Another account signals the agent, and connects to and opens all in its state directory, during an upgrade."""
    with site(open_path, drain={"timeout": 60}) as one:
        with socket.create_connection((one.agent.host, one.agent.port)) as stream:
            stream.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1")  # keeps the old agent
            eventually(lambda: one.agent.status()["generations"][0]["in_flight"], "the request")
            assert one.agent.upgrade()["event"] == "agent.upgraded"
            assert one.agent.process is not None
            state = one.agent.state_dir
            theirs = account().uid  # the pipe of the app's output is the app's
            entries = [path.name for path in state.iterdir() if not path.is_dir() and path.stat().st_uid != theirs]
            sockets = [name for name in entries if stat.S_ISSOCK((state / name).lstat().st_mode)]
            assert any(name.startswith("upgraded-") for name in sockets)
            attacker = one.attack(
                accounts.python(), "-c", REACHING, str(one.agent.process.pid), str(state), *entries, user=user
            )
            assert attacker.communicate(timeout=30)[0] == "[]\n"
        assert one.get() == "1"
        record_property("got", f"no signal, none of {len(entries)} files, {len(sockets)} of them sockets")
