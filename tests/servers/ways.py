"""The usual ways to deploy an app without rainbowd, as their documentation has them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import nginx
from tests.live.agent import free_port, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live.storm import Lives

PATIENCE_SECONDS = 90.0
"""Puma gives a worker half a minute to end."""
LOOK_SECONDS = 0.02
NOTHING_SECONDS = 1.0

PASS_ON = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
upstream app {{ server 127.0.0.1:{upstream}; keepalive 32; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }}
}}
"""


class Server:
    """The app, in a session of its own, as a unit of systemd is in a control group."""

    def __init__(self, site: Site, port: int, *more: str) -> None:
        self._site = site
        self.port = port
        site.generation += 1
        command = [word.replace("{port}", str(port)) for word in site.command]
        release = site.directory / "current"  # by which name the server is to find the next one, too
        self.process = subprocess.Popen(
            [*command[:1], *more, *command[1:]],
            cwd=release,
            env={**os.environ, "RAINBOWD_GENERATION": str(site.generation), "PWD": str(release)},
            stdin=subprocess.DEVNULL,
            stdout=site.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait(self.answers, "its answer")
        site.lives.append((time.time(), site.generation))

    def answers(self) -> bool:
        """Whether it is ready."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/up", timeout=5):
            return True
        return False

    def processes(self) -> set[int]:
        """All that it started, itself among them."""
        return {pid for pid in pids() if stat(pid)[3:4] == [str(self.process.pid)]}

    def children(self, pid: int) -> set[int]:
        """Of one of them."""
        return {child for child in self.processes() if stat(child)[1:2] == [str(pid)]}

    def stop(self) -> None:
        """As ``systemctl stop`` does: TERM to every process of the unit, KILL to what is left in the end."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
            with contextlib.suppress(AssertionError):
                return wait(self._has_ended, "its end")
        return None

    def _has_ended(self) -> bool:
        self.process.poll()
        return not self.processes()


@dataclass
class Site:
    """Where one way is tried.

    Attributes:
        port: that the clients ask.
        lives: when which start of the app was ready.
    """

    directory: Path
    command: list[str]
    log: int
    port: int = field(default_factory=free_port)
    generation: int = 0
    lives: Lives = field(default_factory=list)

    def turn(self, release: str) -> None:
        """Turn the link."""
        temporary = self.directory / "current.new"
        temporary.symlink_to(Path("releases") / release)
        temporary.rename(self.directory / "current")


class StopAndStart:
    """What ``systemctl restart`` does."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.server = Server(site, site.port, *self.options())

    def options(self) -> tuple[str, ...]:
        """The parts of the server's command line in addition to the row's."""
        return ()

    def deploy(self) -> None:
        """The release that is linked now is run."""
        self.server.stop()
        self.server = Server(self.site, self.server.port)

    def end(self) -> None:
        """No process is left."""
        self.server.stop()


class Nothing(StopAndStart):
    """No deploy: what the server loses of itself."""

    def deploy(self) -> None:
        time.sleep(NOTHING_SECONDS)


class Reload(StopAndStart):
    """A signal upon which the master replaces its workers, one after the other or all at once."""

    signum = signal.SIGHUP

    def deploy(self) -> None:
        master = self.server.process.pid
        before = self.server.children(master)
        os.kill(master, self.signum)
        wait(lambda: len(now := self.server.children(master)) == len(before) and not now & before, "new workers")


class Phased(Reload):
    """Puma's: one worker after the other; over when the last says that it has booted."""

    signum = signal.SIGUSR1

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.phase = 0

    def deploy(self) -> None:
        super().deploy()
        self.phase += 1
        count = len(self.server.children(self.server.process.pid))
        log = self.site.directory / "log"
        wait(lambda: log.read_text().count(f", phase: {self.phase}\n") == count + 1, "workers that have booted")


class NewMaster(StopAndStart):
    """gunicorn's USR2: a second master on the same socket; the first is ended when that has workers."""

    def __init__(self, site: Site) -> None:
        self.pidfile = site.directory / "pid"
        super().__init__(site)
        self.master = self.server.process.pid

    def options(self) -> tuple[str, ...]:
        return "--pid", str(self.pidfile)

    def deploy(self) -> None:
        count = len(self.server.children(self.master))
        os.kill(self.master, signal.SIGUSR2)
        wait(lambda: pid_in(self.pidfile.with_name("pid.2")) > 0, "a second master")
        second = pid_in(self.pidfile.with_name("pid.2"))
        wait(lambda: len(self.server.children(second)) == count, "its workers")
        os.kill(self.master, signal.SIGTERM)
        wait(self._is_over, "the first master's end")
        wait(lambda: pid_in(self.pidfile) == second, "the second master to be the first")
        self.master = second

    def _is_over(self) -> bool:
        self.server.process.poll()
        return self.master not in self.server.processes()


class Nginx(StopAndStart):
    """nginx before ``systemctl restart``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.server = Server(site, free_port())
        self.configure()
        command = ["nginx", *nginx.ARGUMENTS.format(directory=site.directory, file=self.file).split()]
        self.nginx = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=site.log, stderr=subprocess.STDOUT)
        wait((site.directory / "nginx.pid").exists, "nginx")

    @property
    def file(self) -> Path:
        return self.site.directory / "nginx.conf"

    def configure(self) -> None:
        """Write its configuration, with the app where it is now."""
        site = PASS_ON.format(port=self.site.port, upstream=self.server.port)
        self.file.write_text(nginx.CONFIG.format(directory=self.site.directory, site=site))

    def end(self) -> None:
        self.nginx.terminate()
        self.nginx.wait()
        self.server.stop()


class Switch(Nginx):
    """Start a second app, reload nginx with its port, and stop the first app."""

    def deploy(self) -> None:
        before = self.server
        self.server = Server(self.site, free_port())
        self.configure()
        self.nginx.send_signal(signal.SIGHUP)
        before.stop()


def wait(look: Callable[[], bool], what: str) -> None:
    """Until ``look`` sees it.

    Raises:
        AssertionError: it did not come.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline, f"waiting for {what}: nothing came"
        time.sleep(LOOK_SECONDS)


def pid_in(file: Path) -> int:
    """What a pidfile says; 0 where there is none, or it is not written yet."""
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return 0


def stat(pid: int) -> list[str]:
    """What Linux says of a process: its state, its parent, its group, its session, and more; proc_pid_stat(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
