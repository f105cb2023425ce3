"""A server as deploy tools see it: an agent, ``rainbowd`` on the PATH, an sshd; and a project to deploy there."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tests.live.agent import PATIENCE_SECONDS, ROOT, free_port, needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.live.agent import Agent, Event

HOOKS = ROOT / "deploy-hooks"
GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    **{f"GIT_{who}_NAME": "Dev" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "dev@example.org" for who in ("AUTHOR", "COMMITTER")},
}
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {keys}/host
PidFile none
AuthorizedKeysFile {keys}/user.pub
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
SetEnv PATH={path}
"""
SSH = """
Host *
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {keys}/user
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


class Run(NamedTuple):
    """How a tool ended, and what it said on both outputs."""

    status: int
    output: str


def environment(directory: Path) -> dict[str, str]:
    """With ``rainbowd`` on the PATH, a HOME of its own, and nothing of this test run's own Python."""
    commands = directory / "bin"
    if not commands.exists():
        commands.mkdir()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        rainbowd = commands / "rainbowd"
        rainbowd.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" -m rainbowd "$@"\n')
        rainbowd.chmod(0o755)
        (directory / "home").mkdir()
    return {"PATH": f"{commands}:{SYSTEM_PATH}", "HOME": str(directory / "home"), "LANG": "C.UTF-8", **GIT}


def run(
    directory: Path, *words: str, cwd: Path | None = None, variables: Mapping[str, str] = MappingProxyType({})
) -> Run:
    """Run a tool as a deployer would."""
    done = subprocess.run(
        words,
        cwd=cwd or directory,
        env={**environment(directory), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * PATIENCE_SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout)


def project(agent: Agent) -> Path:
    """A git repository whose commits are releases; there is none yet."""
    repository = agent.directory / "project"
    assert run(agent.directory, needs("git"), "init", "-q", "-b", "main", str(repository)).status == 0
    return repository


def commit(repository: Path, message: str, behaviour: str = "{}") -> str:
    """Commit a release that behaves as this ``app.json`` says; its id."""
    (repository / "app.json").write_text(behaviour)
    (repository / "message").write_text(message)
    for words in (["add", "."], ["commit", "-q", "-m", message], ["rev-parse", "HEAD"]):
        done = run(repository.parent, "git", *words, cwd=repository)
        assert done.status == 0, done
    return done.output.strip()


BROKEN = '{"exit_status": 3, "output": ["no such table: users"]}'


def live(agent: Agent) -> str:
    """The live release's directory."""
    status: Event = agent.status()
    (release,) = (each["release"] for each in status["generations"] if each["id"] == status["live"])
    return str(release)


def launches(agent: Agent) -> int:
    """How many generations there have been."""
    return sum(event["event"] == "generation.launched" for event in agent.events())


def releases(agent: Agent) -> list[str]:
    """The directories' names, oldest first, but for those that the agent was given."""
    return sorted(entry.name for entry in (agent.directory / "releases").iterdir() if entry.name not in {"a", "b"})


@contextlib.contextmanager
def sshd(directory: Path) -> Iterator[Path]:
    """An sshd that lets us in; the ssh configuration that leads there, which is also what ``ssh`` on the PATH uses."""
    program, keygen = needs("sshd"), needs("ssh-keygen")
    keys = directory / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", str(keys / name)], check=True)
    port = free_port()
    environment(directory)
    settings = {"port": port, "keys": keys, "path": f"{directory / 'bin'}:{SYSTEM_PATH}", "user": getpass.getuser()}
    (keys / "sshd_config").write_text(SSHD.format(**settings))
    (keys / "config").write_text(SSH.format(**settings))
    wrapper = directory / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{keys}/config" "$@"\n')
    wrapper.chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
    with (keys / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(keys / "sshd_config")], stderr=log)
    try:
        _wait_for(port, process, keys / "log")
        yield keys / "config"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise AssertionError(f"sshd does not listen: {log.read_text()}")
