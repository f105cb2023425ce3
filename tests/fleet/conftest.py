"""One cluster of etcd for all tests of a file, because its start takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fleet.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes on the loopback interface."""
    cluster = Cluster(tmp_path_factory.mktemp("etcd"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()
