"""A server that is restarted, with its data or without; a connection, scripts or a server that are gone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from store_parts import GRAPH, Ask, ask_redis, flush, loaded, window

from stormline.connectors.redis import RedisStore, begin_run, connect
from stormline.core.requests import Applied, Counts, Enter, Gone, Load, Mark, Refused, Reply, Request, Unknown
from stormline.embedded.servers import EmbeddedServers
from stormline.testing import MemoryStore


class Restarting:
    """A Redis that is restarted on its port, with its data or without, while the store's connection is idle."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers = EmbeddedServers.start(directory, redis_only=True)
        self.url = self._servers.redis_url
        self.client = connect(self.url)
        begin_run(self.client, "app", GRAPH)
        self._store = RedisStore(self.url)
        self.ask = ask_redis(self._store)

    def restart(self) -> None:
        self._servers.stop()
        self._servers = EmbeddedServers.start(self._directory, redis_only=True, redis_port=int(urlsplit(self.url).port))

    def lose_data(self) -> None:
        self._servers.stop()
        shutil.rmtree(self._directory / "redis")
        self.restart()

    def close(self) -> None:
        self._store.close()
        self.client.close()
        self._servers.stop()


@pytest.fixture
def restarting(tmp_path: Path) -> Iterator[Restarting]:
    server = Restarting(tmp_path)
    yield server
    server.close()


@pytest.fixture(params=["redis", "memory"])
def store(request: pytest.FixtureRequest) -> Restarting | MemoryStore:
    if request.param == "redis":
        found: Restarting = request.getfixturevalue("restarting")
        return found
    memory = MemoryStore()
    memory.begin_run()
    return memory


def once_connected(ask: Ask, request: Request) -> Reply:
    """The answer; a connection that turns out to be closed costs one `Unknown`, not two."""
    reply = ask(request)
    return ask(request) if isinstance(reply, Unknown) else reply


def test_after_a_restart_a_slot_is_loaded_again_before_it_is_flushed(store: Restarting | MemoryStore) -> None:
    """
    A flush meant for the life before is not sent to the next one, also if the connection was idle meanwhile.
    """
    loaded(store.ask)
    store.ask(flush(1, window(k="1")))
    store.restart()

    assert isinstance(once_connected(store.ask, flush(2, window(k="2"))), Gone)
    assert isinstance(store.ask(flush(3, window(k="3"))), Gone)
    assert {"k": "1"} == loaded(store.ask, again=True).windows[0].results
    assert isinstance(store.ask(flush(4, window(k="4"))), Applied)
    assert {"k": "4"} == loaded(store.ask).windows[0].results


def test_lost_data_is_noticed(store: Restarting | MemoryStore) -> None:
    """
    Without the run marker nobody loads and nobody enters; a new run finds that Kafka knows more.
    """
    loaded(store.ask)
    assert isinstance(store.ask(Mark({"t/0": 5}, {})), Applied)
    store.lose_data()

    assert isinstance(once_connected(store.ask, flush(1)), Gone)
    for request in (Load("bolt", 3, "me", 1, True), Load("bolt", 3, "next", 1), Enter("spout", 1, {})):
        reply = store.ask(request)
        assert isinstance(reply, Refused)
        assert reply.halted
    if isinstance(store, MemoryStore):
        store.begin_run()
    else:
        begin_run(store.client, "app", GRAPH)
    reply = store.ask(Enter("spout", 1, {"t/0": 5}))
    assert isinstance(reply, Refused)
    assert reply.halted


def test_a_closed_connection_is_not_a_restart(on_redis: Ask, url: str) -> None:
    """
    Whoever closes an idle connection costs one answer; the slot is still the task's own.
    """
    loaded(on_redis)
    with connect(url) as other:
        other.client_kill_filter(_type="normal", skipme=True)

    assert isinstance(once_connected(on_redis, flush(1, window(k="1"))), Applied)


def test_scripts_that_were_flushed_are_loaded_again(on_redis: Ask, url: str) -> None:
    """
    A server that has forgotten the scripts costs one answer.
    """
    loaded(on_redis)
    with connect(url) as other:
        other.script_flush()

    assert isinstance(once_connected(on_redis, flush(1, window(k="1"))), Applied)


def test_a_server_that_is_gone_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """
    Without an answer nothing is claimed; the thread lives on.
    """
    servers = EmbeddedServers.start(tmp_path, redis_only=True)
    store = RedisStore(servers.redis_url)
    ask = ask_redis(store)
    servers.stop()

    assert isinstance(ask(Counts()), Unknown)
    assert isinstance(ask(Counts()), Unknown)
    store.close()
