"""What another account exchanges while the agent works: tried against real agents, with a loop of renameat2(2)."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Self

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.live.agent import ROOT, command
from tests.security.site import HERE, Site, Visitor, every_agent, site
from tests.security.test_files import give
from tests.security.test_tricks import SECRET, secret_of_root, trick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

EXCHANGES_LEAST = 1000
ROUNDS_MOST = 200
SEEN_LEAST = 3
"""How many deploys find either file, before the race counts."""
DEPLOYS_MOST = 60
STARTS = int(os.environ.get("RACE_STARTS", "12"))
DEPLOYS = int(os.environ.get("RACE_DEPLOYS", "5"))
"""How many starts and deploys a race lasts; ``python -m tests.security`` has more of them."""


class Race:
    """Has the stranger exchange two names all the time; ``exchanges`` is their number, once the race is over."""

    def __init__(self, one: Site, path: Path, other: Path) -> None:
        script = shutil.copy(HERE / "racer.py", one.directory)
        self._process = one.attack(accounts.python(), str(script), str(path), str(other), str(EXCHANGES_LEAST))
        self._enough = path.with_name(f"{path.name}.raced")
        self.exchanges = 0

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "races\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self.exchanges = int(self._process.communicate()[0])
        assert self.exchanges >= EXCHANGES_LEAST, "it was no race"

    def __str__(self) -> str:
        return f"{self.exchanges} exchanges"

    def rounds(self, least: int) -> Iterator[int]:
        """Count from 0 to ``least``, and on until there were enough exchanges for a race."""
        for number in range(ROUNDS_MOST):
            if number >= least and self.is_enough:
                return
            yield number

    @property
    def is_enough(self) -> bool:
        """Whether there were enough exchanges for a race."""
        return self._enough.exists()


def outcomes(one: Site, race: Race) -> dict[str, int]:
    """Deploy again and again; how many deploys ended in each way."""
    seen: dict[str, int] = {}
    for number in race.rounds(DEPLOYS):
        event = one.deploy("ba"[number % 2])["event"]
        seen[event] = seen.get(event, 0) + 1
    return seen


@every_agent
def test_a_fifo_in_place_of_the_program_holds_up_nobody(open_path: Path, agent: str, record_property: Record) -> None:
    """The deployer exchanges the program of a release with a FIFO during deploys.

    Between exec and its first read, the script's shell can get the FIFO: that deploy ends at its health deadline.
    """
    with site(open_path) as one:
        release = open_path / "releases" / "b"
        give(release)
        server, fifo = release / "server", release / "fifo"
        server.write_text(f'#!/bin/sh\nexec {accounts.python()} {open_path}/app.py "$1"\n')
        server.chmod(0o755)
        trick(one, "fifo", fifo, user=STRANGER)
        one.agent.configure(run=["./server", "{port}"], user=USER, health={"path": "/up", "deadline": 10})
        one.become(agent)
        program, pipe = 0, 0
        with Visitor(one) as visitor, Race(one, server, fifo) as race:
            for _ in range(DEPLOYS_MOST):
                decision = one.deploy("b")
                pipe += decision["event"] == "deploy.failed"
                program += decision["event"] == "deploy.succeeded"
                visitor.is_served()
                if min(program, pipe) >= SEEN_LEAST and race.is_enough:
                    break
        assert min(program, pipe) >= SEEN_LEAST, (program, pipe)
        assert one.agent.stop() == 0
    record_property("got", f"{race}; {program} deploys found the program and {pipe} the FIFO; {visitor}")


@every_agent
def test_a_link_to_the_config_that_others_exchange_is_never_followed(
    open_path: Path, agent: str, record_property: Record
) -> None:
    """The directory of the config becomes another account's, who exchanges the config with a forged one."""
    with site(open_path) as one:
        one.become(agent)
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
        with Race(one, open_path / "rainbowd.json", link) as race:
            seen = outcomes(one, race)
        assert not (open_path / "ROOTED").exists()
        assert one.get() == "1"
        assert set(seen) == {"deploy.failed"}
        record_property("got", f"{race}; {seen}; the forged command did not run; generation 1 answers")


@every_agent
def test_root_appends_to_no_file_that_others_put_in_place_of_the_log(
    open_path: Path, agent: str, record_property: Record
) -> None:
    """The directory of ``log.app`` becomes another account's, who exchanges the log with a link to a file of root's."""
    (open_path / "logs").mkdir()
    with site(open_path, log={"app": "logs/app.log"}) as one:
        one.become(agent)
        secret = secret_of_root(open_path)
        log, link = open_path / "logs" / "app.log", open_path / "logs" / "link"
        link.symlink_to(secret)
        log.touch()
        give(open_path / "logs")
        noisy = ["sh", "-c", f'echo PRINTED; exec {accounts.python()} {open_path}/app.py "$0"', "{port}"]
        one.agent.configure(run=noisy, user=USER, health={"path": "/up"}, log={"app": "logs/app.log"})
        with Race(one, log, link) as race:
            seen = outcomes(one, race)
        assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == (f"{SECRET}\n", 0o600)
        assert one.get().isdecimal()
        record_property("got", f"{race}; {seen}; root's file is unchanged")


@pytest.mark.parametrize("directory", ["sticky", "theirs"])
def test_no_file_of_roots_gets_the_mode_of_a_listener(open_path: Path, directory: str, record_property: Record) -> None:
    """The stranger exchanges a link to a file of root's with a socket where the agent makes its own, at many starts."""
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
        with Race(one, listener, shared / "other") as race:
            for _ in race.rounds(STARTS):
                words = command("--config", str(open_path / "second.json"))
                ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
                statuses[ended.returncode] = statuses.get(ended.returncode, 0) + 1
                assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == (f"{SECRET}\n", 0o600)
        assert set(statuses) <= {1, 2}
        record_property("got", f"{race}; exit statuses of the starts {statuses}; root's file is 0600")


@every_agent
@pytest.mark.parametrize("key", ["env_file", "hooks.before_launch"])
def test_a_link_in_the_middle_that_others_exchange_is_never_followed(
    open_path: Path, agent: str, key: str, record_property: Record
) -> None:
    """A link on the way to the env file or to a hook's program becomes another account's, who turns it to a forgery."""
    for name in ("real", "forged"):
        (open_path / name).mkdir()
        (open_path / name / "env").write_text(f"FROM={name}\n")
        (open_path / name / "hook").write_text(f"#!/bin/sh\necho {name}\n")
        (open_path / name / "hook").chmod(0o755)
    give(open_path / "forged")
    stage = open_path / "stage"
    stage.mkdir()
    (stage / "link").symlink_to(open_path / "real")
    (stage / "other").symlink_to(open_path / "forged")
    is_env = key == "env_file"
    config = {"env_file": "stage/link/env"} if is_env else {"hooks": {"before_launch": [f"{stage}/link/hook"]}}
    with site(open_path, **config) as one:
        one.become(agent)
        give(stage)
        with Race(one, stage / "link", stage / "other") as race:
            seen = outcomes(one, race)
            checked = subprocess.run(
                command("check", "--config", str(open_path / "rainbowd.json")),
                cwd=ROOT,
                capture_output=True,
                check=False,
            )
        reasons = {event["reason"] for event in one.agent.events() if event["event"] == "deploy.failed"}
        assert (set(seen), checked.returncode) == ({"deploy.failed"}, 2)
        assert all(f"the directory {stage}" in reason for reason in reasons), reasons
        hooks = [event["output"] for event in one.agent.events() if event["event"] == "hook.ended"]
        assert ["forged"] not in hooks
        assert one.get() == "1"
        record_property("got", f"{race}; {seen}; {next(iter(reasons))[:120]}")
