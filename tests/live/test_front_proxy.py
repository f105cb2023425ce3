from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
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
    include {directory}/site.conf;
}}
"""


@contextlib.contextmanager
def nginx(directory: Path, agent_port: int) -> Iterator[int]:
    """The shipped configuration, in front of an agent, on a port of its own."""
    port = free_port()
    site = (ROOT / "deploy-hooks" / "nginx.conf").read_text()
    for shipped, here in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "listen [::]:80;": "",
        "server 127.0.0.1:7000;": f"server 127.0.0.1:{agent_port};",
    }.items():
        assert shipped in site
        site = site.replace(shipped, here)
    directory.mkdir()
    (directory / "site.conf").write_text(site)
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory))
    with (directory / "output").open("wb") as output:
        command = [needs("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf")]
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
    raise AssertionError("nginx does not listen")


@pytest.mark.live
def test_behind_the_shipped_nginx_configuration_deploys_lose_no_request(tmp_path: Path) -> None:
    with running(tmp_path) as agent, nginx(tmp_path / "nginx", agent.port) as port:
        traffic = Traffic(agent.host, port)
        switches = asyncio.run(storm.blow(agent, traffic, deploys=2))
    assert traffic.failures == []
    assert len(switches) == 2
    assert all(not tunnel.closed for tunnel in traffic.tunnels)
    assert traffic.counts["websocket"] == len(traffic.tunnels) > 0


@pytest.mark.live
def test_behind_the_shipped_nginx_configuration_the_app_is_told_who_the_client_is(tmp_path: Path) -> None:
    async def ask(port: int) -> dict[str, str]:
        client = await Client.connect("127.0.0.1", port)
        lies = [
            "X-Forwarded-For: 6.6.6.6",
            "Forwarded: for=6.6.6.6",
            "X-Real-IP: 6.6.6.6",
            "Client-IP: 6.6.6.6",
        ]
        answer = await client.ask("/", fields=lies)
        await client.close()
        fields: dict[str, str] = json.loads(answer.body)["fields"]
        return fields

    with running(tmp_path) as agent, nginx(tmp_path / "nginx", agent.port) as port:
        fields = asyncio.run(ask(port))
    assert fields["host"] == f"127.0.0.1:{port}"
    assert fields["x-forwarded-for"].split(",")[0] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    assert not [name for name, value in fields.items() if "6.6.6.6" in value]
