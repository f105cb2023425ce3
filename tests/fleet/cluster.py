"""A real cluster of etcd on free ports of the loopback interface, for one session of tests."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import free_port

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05


PROGRAM = "TEST_ETCD"
"""The environment variable that names another etcd than that of the PATH, such as one of another version."""


def require_etcd() -> str:
    """Return the path of etcd; skip the test if it is missing, or fail it in continuous integration."""
    named = os.environ.get(PROGRAM, "etcd")
    found = shutil.which(named)
    if found is None:
        reason = f"{named} is missing: apt-get install etcd-server etcd-client, or name one in {PROGRAM}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Node:
    """One node of a cluster, which can be killed, frozen and started again.

    Args:
        program: the path of etcd.
        directory: for its data and its output.
        name: in the cluster.
        options: more options of the command line.
    """

    def __init__(self, program: str, directory: Path, name: str, scheme: str, options: list[str]) -> None:
        self.name = name
        self.client = f"{scheme}://127.0.0.1:{free_port()}"
        self.peer = f"http://127.0.0.1:{free_port()}"
        self._program, self._directory, self._options = program, directory, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str) -> None:
        """Start it; ``cluster`` names all peers."""
        command = [
            self._program,
            *("--name", self.name, "--data-dir", str(self._directory / self.name)),
            *("--listen-client-urls", self.client, "--advertise-client-urls", self.client),
            *("--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer),
            *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
            *("--heartbeat-interval", "100", "--election-timeout", "1000"),
            *self._options,
        ]
        with (self._directory / f"{self.name}.log").open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self) -> None:
        """End it as a power failure would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it without closing its connections."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class Cluster:
    """Nodes that know each other.

    Args:
        directory: for the data; removed by the code that made it.
        size: how many nodes.
        scheme: of the clients' URLs.
        options: more options of each node's command line.
    """

    def __init__(self, directory: Path, size: int = 3, scheme: str = "http", options: list[str] | None = None) -> None:
        program = require_etcd()
        directory.mkdir(parents=True, exist_ok=True)
        self.nodes = [Node(program, directory, f"n{number}", scheme, options or []) for number in range(size)]
        self.names = ",".join(f"{node.name}={node.peer}" for node in self.nodes)

    @property
    def endpoints(self) -> list[str]:
        """The URLs of all nodes."""
        return [node.client for node in self.nodes]

    def start(self, *nodes: Node) -> None:
        """Start some nodes, or all, and wait until the cluster can write."""
        for node in nodes or self.nodes:
            node.start(self.names)
        self.until_writable()

    def until_writable(self) -> None:
        """Wait until the cluster has a leader."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if any(self._can_write(node) for node in self.nodes):
                return
            time.sleep(LOOK_SECONDS)
        raise AssertionError("etcd has no leader")

    def leader(self) -> Node:
        """The node that leads now."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for node in self.nodes:
                status = self._status(node)
                if status and status.get("leader") and status["leader"] == status["header"]["member_id"]:
                    return node
            time.sleep(LOOK_SECONDS)
        raise AssertionError("etcd has no leader")

    def keys(self) -> list[str]:
        """All keys, sorted."""
        everything = {"key": "AA==", "range_end": "AA==", "keys_only": True}
        return [base64.b64decode(one["key"]).decode() for one in self._ask("/v3/kv/range", everything).get("kvs", ())]

    def leases(self) -> int:
        """How many leases there are."""
        return len(self._ask("/v3/lease/leases", {}).get("leases", ()))

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of the first node that answers."""
        found = next(filter(None, (self._post(node, path, body) for node in self.nodes)), None)
        assert found is not None, "no node of etcd answers"
        return found

    def destroy(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.kill()

    def _can_write(self, node: Node) -> bool:
        return self._post(node, "/v3/kv/put", {"key": "Lw==", "value": ""}) is not None

    def _status(self, node: Node) -> dict[str, Any] | None:
        return self._post(node, "/v3/maintenance/status", {})

    def _post(self, node: Node, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        context = ssl._create_unverified_context() if node.client.startswith("https") else None
        request = urllib.request.Request(f"{node.client}{path}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=1, context=context) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except (OSError, ValueError):
            return None
