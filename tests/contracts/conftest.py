"""A real Redis for the contracts of the store, and each of the two stores to be asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_parts import GRAPH, Ask, ask_redis

from stormline.connectors.redis import RedisStore, begin_run, clear, connect
from stormline.embedded.servers import EmbeddedServers
from stormline.testing import MemoryStore


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedServers.start(Path(tmp_path_factory.mktemp("redis")), redis_only=True) as servers:
        yield servers.redis_url


@pytest.fixture
def on_redis(url: str) -> Iterator[Ask]:
    client = connect(url)
    clear(client, "app")
    begin_run(client, "app", GRAPH)
    store = RedisStore(url)
    yield ask_redis(store)
    store.close()
    client.close()


@pytest.fixture(params=["redis", "memory"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "redis":
        found: Ask = request.getfixturevalue("on_redis")
        return found
    memory = MemoryStore()
    memory.begin_run()
    return memory.ask
