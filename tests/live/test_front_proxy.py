from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.live import storm
from tests.live.agent import PATIENCE_SECONDS, ROOT, free_port, needs, running
from tests.live.client import Client
from tests.live.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {site}
}}
"""


HAPROXY = """
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
        """The whole configuration."""
        site = (ROOT / "deploy-hooks" / self.shipped).read_text()
        for shipped, here in {**self.changes, "127.0.0.1:7000": f"127.0.0.1:{agent_port}"}.items():
            assert shipped in site
            site = site.replace(shipped, here.format(port=port))
        return self.around.format(directory=directory, site=site)


FRONTS = [
    Front(
        "nginx",
        "nginx.conf",
        NGINX,
        {"listen 80;": "listen 127.0.0.1:{port};", "listen [::]:80;": ""},
        "-p {directory} -c {file}",
    ),
    Front("haproxy", "haproxy.cfg", HAPROXY, {"bind :80": "bind 127.0.0.1:{port}"}, "-db -f {file}"),
]
each_front = pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.program)


@contextlib.contextmanager
def serving(front: Front, directory: Path, agent_port: int) -> Iterator[int]:
    """The shipped configuration, in front of an agent, on a port of its own."""
    port = free_port()
    program = needs(front.program)
    directory.mkdir()
    file = directory / "front.conf"
    file.write_text(front.configure(directory, port, agent_port))
    with (directory / "output").open("wb") as output:
        command = [program, *front.arguments.format(directory=directory, file=file).split()]
        process = subprocess.Popen(command, stdout=output, stderr=output)
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


@each_front
@pytest.mark.live
def test_behind_the_shipped_configuration_deploys_lose_no_request(tmp_path: Path, front: Front) -> None:
    with running(tmp_path) as agent, serving(front, tmp_path / "front", agent.port) as port:
        traffic = Traffic(agent.host, port)
        switches = asyncio.run(storm.blow(agent, traffic, deploys=2))
    assert traffic.failures == []
    assert len(switches) == 2
    assert all(not tunnel.closed for tunnel in traffic.tunnels)
    assert traffic.counts["websocket"] == len(traffic.tunnels) > 0


@each_front
@pytest.mark.live
def test_behind_the_shipped_configuration_the_app_is_told_who_the_client_is(tmp_path: Path, front: Front) -> None:
    async def ask(port: int) -> dict[str, str]:
        client = await Client.connect("127.0.0.1", port)
        lies = [
            "X-Forwarded-For: 6.6.6.6",
            "Forwarded: for=6.6.6.6",
            "X-Real-IP: 6.6.6.6",
            "Client-IP: 6.6.6.6",
            "X-Request-ID: 6.6.6.6",
            "X-Request-Start: 6.6.6.6",
            "X-Forwarded-Host: 6.6.6.6",
            "X-Forwarded-Port: 6.6.6.6",
        ]
        answer = await client.ask("/", fields=lies)
        await client.close()
        fields: dict[str, str] = json.loads(answer.body)["fields"]
        return fields

    with running(tmp_path) as agent, serving(front, tmp_path / "front", agent.port) as port:
        fields = asyncio.run(ask(port))
    assert fields["host"] == f"127.0.0.1:{port}"
    assert fields["x-forwarded-for"].split(",")[0] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-host"] == f"127.0.0.1:{port}"
    assert fields["x-request-id"]
    assert not [name for name, value in fields.items() if "6.6.6.6" in value]
