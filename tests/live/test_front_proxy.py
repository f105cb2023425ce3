from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.live import nginx, storm
from tests.live.agent import PATIENCE_SECONDS, ROOT, free_port, needs, running
from tests.live.client import Client
from tests.live.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.live.agent import Agent
    from tests.live.client import Answer

FORWARDED = [
    "For",
    "Host",
    "Port",
    "Proto",
    "Access-Token",
    "By",
    "Client-Cert",
    "Client-Cert-Chain",
    "Email",
    "Groups",
    "Method",
    "Path",
    "Preferred-Username",
    "Prefix",
    "Proto-Version",
    "Protocol",
    "Scheme",
    "Server",
    "Ssl",
    "Tls-Client-Cert",
    "Tls-Client-Cert-Info",
    "Uri",
    "Url",
    "User",
    "Username",
]
"""What apps and their libraries read of ``X-Forwarded-...``: addresses, URLs, users and certificates."""
OTHERS = ["Forwarded", "X-Real-IP", "Client-IP", "X-Request-ID", "X-Request-Start"]

HAPROXY = """
{site}
"""

APACHE_MODULES = ("mpm_event", "reqtimeout", "unique_id", "headers", "proxy", "proxy_http", "authz_core", "env")
"""Those that Debian enables and that matter here, and those that the configuration asks for."""

APACHE = (
    "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in APACHE_MODULES)
    + """
ServerRoot {directory}
ServerName localhost
DefaultRuntimeDir {directory}
PidFile {directory}/pid
ErrorLog {directory}/error.log
User nobody
Group nogroup
{site}
"""
)

CADDY = """{{
    admin off
    auto_https off
}}
{site}
"""


@dataclass(frozen=True)
class Front:
    """A front proxy.

    Attributes:
        shipped: its configuration in ``deploy-hooks``.
        around: what makes of that a whole one, in a directory.
        changes: what of it a machine changes.
        arguments: with ``{file}`` for the whole one.
    """

    program: str
    shipped: str
    around: str
    changes: dict[str, str]
    arguments: str

    def configure(self, directory: Path, port: int, agent_port: int) -> str:
        """Return the complete configuration."""
        site = (ROOT / "deploy-hooks" / self.shipped).read_text()
        for shipped, here in {**self.changes, "127.0.0.1:7000": f"127.0.0.1:{agent_port}"}.items():
            assert shipped in site
            site = site.replace(shipped, here.format(port=port))
        return self.around.format(directory=directory, site=site)


FRONTS = [
    Front(
        "nginx",
        "nginx.conf",
        nginx.CONFIG,
        {"listen 80;": "listen 127.0.0.1:{port};", "listen [::]:80;": ""},
        nginx.ARGUMENTS,
    ),
    Front("haproxy", "haproxy.cfg", HAPROXY, {"bind :80": "bind 127.0.0.1:{port}"}, "-db -f {file}"),
    Front(
        "apache2",
        "apache.conf",
        APACHE,
        {"<VirtualHost *:80>": "Listen 127.0.0.1:{port}\n<VirtualHost *:{port}>"},
        "-D FOREGROUND -f {file}",
    ),
    Front(
        "caddy",
        "Caddyfile",
        CADDY,
        {"example.com {": "http://127.0.0.1:{port} {{"},
        "run --adapter caddyfile --config {file}",
    ),
]


@contextlib.contextmanager
def serving(front: Front, directory: Path, agent_port: int) -> Iterator[int]:
    """Run a proxy with the shipped configuration in front of an agent, and yield its port."""
    port = free_port()
    program = needs(front.program)
    directory.mkdir()
    file = directory / "front.conf"
    file.write_text(front.configure(directory, port, agent_port))
    with (directory / "output").open("wb") as output:
        command = [program, *front.arguments.format(directory=directory, file=file).split()]
        home = {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "XDG_DATA_HOME": str(directory)}
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **home})
    try:
        wait_for_listener(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def wait_for_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise AssertionError("the front proxy does not listen")


@pytest.fixture(scope="module", params=FRONTS, ids=lambda front: front.program)
def front(request: pytest.FixtureRequest) -> Front:
    found: Front = request.param
    return found


@pytest.fixture(scope="module")
def behind(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, int]]:
    """Yield an agent, and the port of a proxy in front of it."""
    needs(front.program)
    directory = tmp_path_factory.mktemp(front.program)
    with running(directory) as agent, serving(front, directory / "front", agent.port) as port:
        yield agent, port


async def ask(port: int, target: str, fields: Iterable[str] = ()) -> Answer:
    client = await Client.connect("127.0.0.1", port)
    answer = await client.ask(target, fields=fields)
    await client.close()
    return answer


@pytest.mark.live
def test_behind_the_shipped_configuration_deploys_lose_no_request(behind: tuple[Agent, int]) -> None:
    agent, port = behind
    traffic = Traffic(agent.host, port)
    switches = asyncio.run(storm.blow(agent, traffic, deploys=2))
    assert traffic.failures == []
    assert len(switches) == 2
    assert all(not tunnel.closed for tunnel in traffic.tunnels)
    assert traffic.counts["websocket"] == len(traffic.tunnels) > 0


@pytest.mark.live
def test_behind_the_shipped_configuration_the_app_gets_the_clients_address(behind: tuple[Agent, int]) -> None:
    _, port = behind
    names = [f"X-Forwarded-{name}" for name in FORWARDED] + OTHERS
    for spelled in (str, str.lower, lambda name: name.replace("-", "_")):
        lies = [f"{spelled(name)}: 6.6.6.6" for name in names]
        fields = json.loads(asyncio.run(ask(port, "/", lies)).body)["fields"]
        assert not [name for name, value in fields.items() if "6.6.6.6" in value]
    assert fields["host"] == f"127.0.0.1:{port}"
    assert fields["x-forwarded-for"].split(",")[0] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-host"] == f"127.0.0.1:{port}"
    assert fields["x-forwarded-port"] == str(port)
    assert fields["x-request-id"]


@pytest.mark.live
def test_behind_a_shipped_configuration_that_removes_by_prefix_no_forwarded_field_is_left(
    behind: tuple[Agent, int], front: Front
) -> None:
    if front.program not in {"haproxy", "caddy"}:
        pytest.skip(f"{front.program} removes only the fields that its configuration names")
    lies = ["X-Forwarded-Whatever: 6.6.6.6", "x-forwarded-anything-else: 6.6.6.6"]
    fields = json.loads(asyncio.run(ask(behind[1], "/", lies)).body)["fields"]
    assert not [name for name, value in fields.items() if "6.6.6.6" in value]


@pytest.mark.live
def test_behind_the_shipped_configuration_targets_pass_as_they_are_written(behind: tuple[Agent, int]) -> None:
    _, port = behind
    target = "/a//b/%2F%41?x=a;b&c=%zz&d=%2F"
    assert asyncio.run(ask(port, target)).body.decode() == target


@pytest.mark.live
def test_behind_the_shipped_configuration_events_pass_as_they_come(behind: tuple[Agent, int]) -> None:
    async def receive_first(port: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /stream?seconds=3600 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
            await reader.readuntil(b"\n0\n")
            writer.close()

    asyncio.run(receive_first(behind[1]))
