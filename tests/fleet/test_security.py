"""etcd with TLS, passwords and roles, as the script of deploy-hooks/fleet sets them up."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import FleetSettings
from rainbowd.fleet.etcd import Etcd
from rainbowd.fleet.models import Order, Past, Phase, Progress
from tests.fleet.cluster import Cluster
from tests.fleet.site import Fleet
from tests.live.agent import command

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.long]

HOOKS = Path(__file__).parents[2] / "deploy-hooks" / "fleet"
SCRIPT, CERTIFICATES = HOOKS / "etcd-setup.sh", HOOKS / "etcd-certificates.sh"


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority."""
    key, made = directory / f"{name}.key", directory / f"{name}.crt"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*words, *names, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    return made, key


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """A cluster with TLS and passwords, whose tokens expire after four seconds; and the directory of the passwords."""
    directory = tmp_path_factory.mktemp("guarded")
    for _ in range(2):  # a second run renews the certificate, and keeps the authority
        subprocess.run([str(CERTIFICATES), str(directory / "certificates"), "127.0.0.1"], check=True)
    node = directory / "certificates" / "127.0.0.1"
    (directory / "ca.crt").write_bytes((node / "ca.crt").read_bytes())
    options = ["--cert-file", str(node / "server.crt"), "--key-file", str(node / "server.key"), "--auth-token-ttl", "4"]
    cluster = Cluster(directory / "etcd", scheme="https", options=options)
    try:
        cluster.start()
        variables = {"ETCDCTL_ENDPOINTS": ",".join(cluster.endpoints), "ETCDCTL_CACERT": str(directory / "ca.crt")}
        for _ in range(2):  # a second run changes nothing
            subprocess.run([str(SCRIPT), "shop", str(directory)], env={**os.environ, **variables}, check=True)
            variables["ETCDCTL_USER"] = f"root:{(directory / 'root').read_text()}"
        yield cluster, directory
    finally:
        cluster.destroy()


def settings(directory: Path, user: str) -> dict[str, Any]:
    """The part of ``fleet`` that says who somebody is."""
    return {
        "name": "shop",
        "user": user,
        "password_file": str(directory / user),
        "ca_file": str(directory / "ca.crt"),
    }


def write(fleet: Fleet, key: str, value: str | None) -> None:
    """Write a key as a machine can that was taken over: with the agents' password."""

    async def commit() -> None:
        async with Etcd(
            FleetSettings.model_validate(fleet.settings | {"endpoints": tuple(fleet.settings["endpoints"])})
        ) as etcd:
            while not await etcd.commit({key: (await etcd.snapshot()).revision_of(key)}, {key: value}):
                pass

    trio.run(commit)


def an_agent_cannot_name_a_release(fleet: Fleet, deployer: Path) -> None:
    """A forged history, odd names and damaged documents: they hold up rollouts, and nothing else."""
    order = Order(id=9, request="r", release="v3", previous="v3", by="x", at="x", waves=(("web1",),))
    forged = Past(order=order, progress=Progress(order=9, phase=Phase.SUCCEEDED))
    write(fleet, "history/00000009", forged.encode())
    write(fleet, "present/../web9", "{}")
    fleet.deploy("v1", "--fleet", str(deployer))
    status, output = fleet.run("rollback", "--fleet", str(deployer))
    assert status == 0, output + fleet.outputs()
    assert fleet.live() == ["v2", "v2"]
    agent = fleet.members["web1"]
    write(fleet, "progress", '{"order": 3, "phase": "baking", "wave": 99}')
    fleet.wait(lambda: agent.status()["fleet"]["engine"]["state"] == "aside", "web1 to stand aside")
    assert "progress" in agent.status()["fleet"]["engine"]["reason"]
    status, output = fleet.run("", "--fleet", str(deployer))
    assert status == 1, output
    assert output.startswith("rainbowd: progress: ")
    since = len(agent.events())
    agent.touch()
    assert agent.decision(since)["event"] == "deploy.succeeded", "local deploys work"
    write(fleet, "progress", None)
    fleet.until(lambda state: state["engine"]["state"] == "up" and state["phase"] == "succeeded", "the fleet to go on")
    assert fleet.live() == ["v2", "v2"]


def test_a_node_can_show_its_certificate_to_clients_and_to_other_nodes(tmp_path: Path) -> None:
    subprocess.run([str(CERTIFICATES), str(tmp_path), "10.0.0.1", "etcd2.example"], check=True)
    for node, name in (("10.0.0.1", "-verify_ip"), ("etcd2.example", "-verify_hostname")):
        for purpose in ("sslserver", "sslclient"):
            words = ["openssl", "verify", "-purpose", purpose, name, node, "-CAfile", str(tmp_path / node / "ca.crt")]
            subprocess.run([*words, str(tmp_path / node / "server.crt")], check=True)
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0


def test_agents_cannot_order_and_deployers_can(guarded: tuple[Cluster, Path], tmp_path: Path) -> None:
    """11: with an agent's password no order, lock or abort; a wrong CA, a wrong password: away, and exit 3."""
    cluster, directory = guarded
    fleet = Fleet(tmp_path, cluster.endpoints, 2, **settings(directory, "shop-agent"))
    deployer = tmp_path / "fleet.json"
    own = {**fleet.settings, **settings(directory, "shop-deployer")}
    deployer.write_text(json.dumps(own))
    try:
        fleet.start()
        status, output = fleet.run("deploy", "v2")
        assert status == 1, output
        assert "etcd refuses this to shop-agent: etcdserver: permission denied" in output
        assert fleet.run("lock", "--note", "mine")[0] == 1
        status, output = fleet.run("deploy", "v2", "--fleet", str(deployer))
        assert status == 0, output + fleet.outputs()
        assert fleet.live() == ["v2", "v2"]
        checked = subprocess.run(
            command("check", "--config", str(fleet.members["web1"].directory / "rainbowd.json")),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "no order can be given from here" in checked.stdout
        assert "fleet" not in checked.stderr
        an_agent_cannot_name_a_release(fleet, deployer)
        (tmp_path / "wrong").write_text("wrong")
        (tmp_path / "wrong").chmod(0o600)
        other, _ = certificate(tmp_path, "other")
        for change in ({"password_file": str(tmp_path / "wrong")}, {"ca_file": str(other)}):
            deployer.write_text(json.dumps({**own, **change}))
            status, output = fleet.run("deploy", "v3", "--fleet", str(deployer))
            assert status == 3, output
    finally:
        fleet.destroy()
