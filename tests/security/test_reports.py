"""What readers of the state directory, and texts that others choose, can do to the agent and to root's commands."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import STRANGER, account, needs_root
from tests.live.agent import ROOT, command
from tests.security.site import site
from tests.security.test_files import give
from tests.security.test_tricks import trick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e\x1bc$(x)"
"""A window title, a colour, an override of the direction of text, and a reset of the terminal."""
RAW = ["\x1b]0", "\x1bc", "\x07", "\x9b", "\u202e"]
COMMANDS = ["check", "status", "history", "show", "wait", "status --json", "history --json", "show --json"]
LOCKING = """
import fcntl, os, sys, time
held = []
for name in sorted(os.listdir(sys.argv[1])):
    try:
        fd = os.open(f"{sys.argv[1]}/{name}", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(name)
    except OSError:
        pass
print(len(held), *held, flush=True)
time.sleep(1000)
"""


HOLDING = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("holds", flush=True)
time.sleep(1000)
"""


ANSWERING = r"""
import socket, sys
print("\x1b]0;owned\x07\0\x9b\u202e", flush=True)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
body = b"\0\x1b]0;owned\x07\x9b\xe2\x80\xae\xff\n"
while True:
    stream, _ = listener.accept()
    stream.recv(65536)
    status = sys.argv[2].encode()
    location = b"Location: /\xff\x80\r\n" if status == b"302" else b""
    length = 10 * len(body) if status == b"200" else len(body)
    stream.sendall(b"HTTP/1.1 %s OK\r\n%sContent-Length: %d\r\n\r\n%s" % (status, location, length, body))
    stream.close()
"""


def on_terminal(*words: str) -> str:
    """Return what a command of root's sends to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*words), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # EIO: the last writer has closed it
        while data := os.read(ours, 65536):
            said += data
    os.close(ours)
    process.wait(60)
    assert b"Traceback" not in said, said.decode()
    return said.decode(errors="replace")


def shown(config: Path) -> list[str]:
    """Run every command that shows something; return those whose output has a hostile text as it is."""
    found = []
    for words in COMMANDS:
        text = on_terminal(*words.split(), "--config", str(config))
        found += [f"{words}: {raw!r}" for raw in RAW if raw in text]
    return found


def test_readers_who_lock_all_that_they_can_open_stop_no_start_and_no_command(
    open_path: Path, record_property: Record
) -> None:
    """A member of the state directory's group locks every file there that it can open, and the agent starts again."""
    state = open_path / "state"
    state.mkdir()
    os.chown(state, -1, account(STRANGER).gid)
    state.chmod(0o2750)
    with site(open_path) as one:
        reader = one.attack(accounts.python(), "-c", LOCKING, str(state))
        assert reader.stdout is not None
        count, *held = reader.stdout.readline().split()
        assert {"status.json", "journal.jsonl"} <= set(held)
        assert not {"lock", "token", "generation-1.plan"} & set(held)
        since = one.agent.restart()
        one.agent.wait_for("generation.adopted", since)
        assert one.deploy("b")["event"] == "deploy.succeeded"
        assert one.agent.upgrade()["event"] == "agent.upgraded"
        for words in COMMANDS:
            line = command(*words.split(), "--config", str(open_path / "rainbowd.json"))
            ended = subprocess.run(line, cwd=ROOT, capture_output=True, check=False)
            assert ended.returncode == 0, (words, ended)
        assert one.agent.stop() == 0
        record_property("got", f"{count} files locked; the agent started, deployed, was upgraded and stopped")


def test_texts_of_a_deployer_reach_the_terminal_of_root_as_escapes_only(
    open_path: Path, record_property: Record
) -> None:
    """A deployer has control sequences in the name of a release, in a note and in the app's output."""
    with site(open_path, trigger_file="shared/trigger") as one:
        (open_path / "shared").mkdir()
        give(open_path / "shared")
        release = one.agent.add_release(f"v{HOSTILE}")
        noisy = [
            "sh",
            "-c",
            f'printf "%s\\n" "$1"; exec {accounts.python()} {open_path}/app.py "$0"',
            "{port}",
            HOSTILE,
        ]
        one.agent.configure(run=noisy, user="nobody", health={"path": "/up"}, trigger_file="shared/trigger")
        since = len(one.agent.events())
        trick(one, "note", open_path / "shared" / "trigger", "b", user=STRANGER)
        one.agent.decision(since)
        assert one.deploy(release.name)["event"] == "deploy.succeeded"
        found = shown(open_path / "rainbowd.json")
        failing = one.agent.add_release(f"w{HOSTILE}")
        one.agent.configure(run=["sh", "-c", 'printf "%s\\n" "$0" "$1"; exit 3', HOSTILE, "{port}"], user="nobody")
        assert one.deploy(failing.name)["event"] == "deploy.failed"
        found += shown(open_path / "rainbowd.json")
        file = str(open_path / "rainbowd.json")
        for words in (["deploy", failing.name], ["deploy", release.name], ["rollback"], ["upgrade"], ["stop"]):
            text = on_terminal(*words, "--config", file)
            found += [f"{words[0]}: {raw!r}" for raw in RAW if raw in text]
        assert found == []
        record_property("got", f"{2 * len(COMMANDS) + 5} commands on a terminal, no control sequence of the deployer's")


def hostile(value: object) -> object:
    """Return JSON in which every text and number is hostile, except those without which nothing is shown."""
    if isinstance(value, dict):
        kept = {"event", "deploy", "at", "started_at", "live_at", "format", "pid", "boot_id", "start_time"}
        return {name: item if name in kept else hostile(item) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value if isinstance(value, bool) or value is None else f"{value}{HOSTILE}"


def test_a_forged_state_directory_shows_root_nothing_but_text(open_path: Path, record_property: Record) -> None:
    """An account forges the status and the journal of its own agent, with control sequences in every value."""
    with site(open_path) as one:
        one.agent.flip("none")
        one.agent.wait_for("deploy.failed")
        assert one.deploy("b")["event"] == "deploy.succeeded"  # last, so that its generation is shown
        forged = open_path / "forged"
        forged.mkdir()
        status = json.loads((one.agent.state_dir / "status.json").read_text())
        events = one.agent.events()
        give(forged)
        holder = one.attack(accounts.python(), "-c", HOLDING, str(forged / "lock"))
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        status["agent"]["pid"] = holder.pid
        forgeries = [hostile(status), {**status, "generations": hostile(status["generations"])}]
        lines = [[hostile(event) for event in events], events[:1] + [hostile(event) for event in events[1:]]]
        config = open_path / "forged.json"
        config.write_text(json.dumps({"run": "x", "warmup": 1, "state_dir": "forged", "release": "current"}))
        found = []
        for content, journal in zip(forgeries, lines, strict=True):
            (forged / "status.json").write_text(json.dumps(content))
            (forged / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in journal))
            for entry in forged.iterdir():
                give(entry)
            found += shown(config)
        assert found == []
        record_property("got", f"{2 * len(COMMANDS)} commands of root's print it as text, or report it as damaged")


def test_no_byte_of_an_app_keeps_a_hook_from_running(open_path: Path, record_property: Record) -> None:
    """The app prints nulls and control characters, answers the health check with them, and a hook gets the reason."""
    script = open_path / "hostile.py"
    script.write_text(ANSWERING)
    hook = 'printf "%s" "$RAINBOWD_REASON$RAINBOWD_NOTE"'
    with site(open_path, hooks={"after_failure": hook}) as one:
        run = [accounts.python(), str(script), "{port}"]
        health = {"path": "/up", "deadline": 2}
        reasons = []
        for status in ("500", "200", "302"):
            one.agent.configure(run=[*run, status], user="nobody", health=health, hooks={"after_failure": hook})
            since = len(one.agent.events())
            failed = one.deploy("b")
            assert failed["event"] == "deploy.failed"
            ended = one.agent.wait_for("hook.ended", since)
            assert (ended["exit_status"], "".join(ended["output"])) == (0, failed["reason"])
            assert failed["reason"].isprintable()
            reasons.append(failed["reason"])
        assert "bug: " not in one.agent.output(1000)
        record_property("got", f"3 hooks ran; {reasons[0]!r}")
