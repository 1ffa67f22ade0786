"""One server for all histories; without fsync, since nothing here loses what a server has answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation.server import Server

from stormline.connectors.redis import connect
from stormline.embedded.servers import EmbeddedServers


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with EmbeddedServers.start(Path(tmp_path_factory.mktemp("redis")), redis_only=True) as servers:
        client = connect(servers.redis_url)
        client.config_set("appendfsync", "no")
        yield Server(client)
        client.close()
