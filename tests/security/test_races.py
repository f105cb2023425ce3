"""What another account exchanges while the agent works: tried against real agents, with a loop of renameat2(2)."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.live.agent import ROOT, command
from tests.security.test_files import give
from tests.security.test_processes import HERE, Site, site
from tests.security.test_tricks import SECRET, Clock, secret_of_root, trick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, needs_root]


@contextlib.contextmanager
def racing(one: Site, path: Path, other: Path) -> Iterator[None]:
    """Have the stranger exchange two names all the time."""
    script = shutil.copy(HERE / "racer.py", one.directory)
    process = one.attack(accounts.python(), str(script), str(path), str(other))
    assert process.stdout is not None
    assert process.stdout.readline() == "races\n"
    try:
        yield
    finally:
        process.kill()


def outcomes(one: Site, deploys: int) -> dict[str, int]:
    """Deploy again and again; how many deploys ended in each way."""
    seen: dict[str, int] = {}
    for number in range(deploys):
        event = one.deploy("ba"[number % 2])["event"]
        seen[event] = seen.get(event, 0) + 1
    return seen


def test_a_fifo_in_place_of_the_program_holds_up_nobody(open_path: Path, record_property: Record) -> None:
    """The deployer exchanges the program of a release with a FIFO during deploys."""
    with site(open_path) as one:
        release = open_path / "releases" / "b"
        give(release)
        server, fifo = release / "server", release / "fifo"
        server.write_text(f'#!/bin/sh\nexec {accounts.python()} {open_path}/app.py "$1"\n')
        server.chmod(0o755)
        shutil.copy(server, open_path / "releases" / "a" / "server")
        trick(one, "fifo", fifo, user=STRANGER)
        one.agent.configure(run=["./server", "{port}"], user=USER, health={"path": "/up", "deadline": 3})
        with Clock(one) as clock, racing(one, server, fifo):
            seen = outcomes(one, 12)
        assert one.deploy("a")["event"] == "deploy.succeeded"
        assert one.agent.stop() == 0
    assert clock.errors == []
    assert clock.worst_seconds < 5
    record_property("got", f"{seen}; {clock}")


def test_a_link_to_the_config_that_others_exchange_is_never_followed(open_path: Path, record_property: Record) -> None:
    """The directory of the config becomes another account's, who exchanges the config with a forged one."""
    with site(open_path) as one:
        forged = open_path / "forged.json"
        config = json.loads((open_path / "rainbowd.json").read_text())
        del config["user"]
        forged.write_text(json.dumps(config | {"run": f"touch {open_path}/ROOTED; exec sleep 9", "warmup": 0.1}))
        give(forged)
        real = open_path / "real.json"
        shutil.copy(open_path / "rainbowd.json", real)
        (open_path / "rainbowd.json").unlink()
        (open_path / "rainbowd.json").symlink_to(real)
        link = open_path / "link"
        link.symlink_to(forged)
        give(open_path)
        with racing(one, open_path / "rainbowd.json", link):
            seen = outcomes(one, 10)
        assert not (open_path / "ROOTED").exists()
        assert one.get() == "1"
        assert set(seen) == {"deploy.failed"}
        record_property("got", f"{seen}; the forged command did not run; generation 1 answers")


def test_root_appends_to_no_file_that_others_put_in_place_of_the_log(open_path: Path, record_property: Record) -> None:
    """The directory of ``log.app`` becomes another account's, who exchanges the log with a link to a file of root's."""
    (open_path / "logs").mkdir()
    with site(open_path, log={"app": "logs/app.log"}) as one:
        secret = secret_of_root(open_path)
        log, link = open_path / "logs" / "app.log", open_path / "logs" / "link"
        link.symlink_to(secret)
        log.touch()
        give(open_path / "logs")
        noisy = ["sh", "-c", f'echo PRINTED; exec {accounts.python()} {open_path}/app.py "$0"', "{port}"]
        one.agent.configure(run=noisy, user=USER, health={"path": "/up"}, log={"app": "logs/app.log"})
        with racing(one, log, link):
            seen = outcomes(one, 10)
        assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == (f"{SECRET}\n", 0o600)
        assert one.get().isdecimal()
        record_property("got", f"{seen}; root's file is unchanged")


@pytest.mark.parametrize("directory", ["sticky", "theirs"])
def test_no_file_of_roots_gets_the_mode_of_a_listener(open_path: Path, directory: str, record_property: Record) -> None:
    """The stranger exchanges a link to a file of root's with a socket where the agent makes its own, at 40 starts."""
    with site(open_path) as one:
        secret, shared = secret_of_root(open_path), open_path / "shared"
        shared.mkdir()
        give(shared)
        listener = shared / "app.sock"
        trick(one, "symlink", listener, secret, user=STRANGER)
        trick(one, "socket", shared / "other", user=STRANGER)
        if directory == "sticky":
            shared.chmod(0o1777)
        config = json.loads((open_path / "rainbowd.json").read_text())
        (open_path / "second.json").write_text(
            json.dumps(config | {"listen": f"unix:{listener}", "state_dir": "second"})
        )
        statuses: dict[int, int] = {}
        with racing(one, listener, shared / "other"):
            for _ in range(40):
                words = command("--config", str(open_path / "second.json"))
                ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
                statuses[ended.returncode] = statuses.get(ended.returncode, 0) + 1
                assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == (f"{SECRET}\n", 0o600)
        assert set(statuses) <= {1, 2}
        record_property("got", f"exit statuses of the starts {statuses}; root's file is 0600")
