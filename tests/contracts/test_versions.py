"""Another version of a bolt on stored state, on a real server: kept, migrated, dropped, or refused."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from stormline.connectors.redis import begin_run, clear, connect
from stormline.connectors.versions import Stored, Version
from stormline.core.errors import StateError

OLD = Version("old", {"bolt": {"key": "user", "window": ["w"]}, "other": {"key": None}})
NEW = Version("new", {"bolt": {"key": "user", "window": ["w", "v"]}, "other": {"key": None}})
OTHER_WINDOW = Version("new", {"bolt": {"key": "user", "window": ["v"]}, "other": {"key": None}})
REWIRED = Version("new", OLD.states)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with connect(url) as client:
        clear(client, "app")
        begin_run(client, "app", OLD)
        client.hset("{app:bolt:3}:live", "w:0", '{"start":0,"end":10,"state":"open","revision":0}')
        client.hset("{app:bolt:3}:windows", "w:0", '{"start":0,"end":10,"state":"open","revision":0}')
        client.hset("{app:bolt:3}:w:w:0", mapping={'"a"': '{"n":1}', '"b"': '{"n":2}'})
        client.hset("{app:bolt:3}:s:w:0", mapping={'"a"': "[1]"})
        client.set("{app:other:3}:x", "kept")
        included = {"lane": {"t/0": [0, 4, 6, 9]}}
        client.hset("{app:bolt:3}:slot", mapping={"included": msgspec.msgpack.encode(included)})
        client.hset("{app}:commits", "t/0", 9)
        yield client


def rows(client: redis.Redis, kind: str = "w") -> dict[str, Any]:
    found = client.hgetall(f"{{app:bolt:3}}:{kind}:w:0")
    return {key.decode(): msgspec.json.decode(value) for key, value in found.items()}


def test_changed_state_is_refused_until_somebody_has_chosen(client: redis.Redis) -> None:
    """
    The message says what has changed and what the choices are; nothing has changed in the store.
    """
    with pytest.raises(StateError) as caught:
        begin_run(client, "app", NEW)
    assert 'bolt: window was ["w"], is ["w","v"]' in str(caught.value)
    for choice in ("keep", "migrate", "drop"):
        assert f"--state {choice}" in str(caught.value)
    assert "other: " not in str(caught.value)
    assert 2 == begin_run(client, "app", OLD)


def test_kept_state_is_read_as_it_is(client: redis.Redis) -> None:
    """
    From then on it is the new version's, which is not asked again.
    """
    before = rows(client)
    assert 2 == begin_run(client, "app", NEW, "keep")
    assert before == rows(client)
    assert 3 == begin_run(client, "app", NEW)
    with pytest.raises(StateError, match="made by another version"):
        begin_run(client, "app", OLD)


def test_windows_of_kinds_that_are_gone_stay_as_results(client: redis.Redis) -> None:
    """
    They are not loaded any more.
    """
    begin_run(client, "app", OTHER_WINDOW, "keep")
    assert [] == client.hkeys("{app:bolt:3}:live")
    assert 1 == client.hlen("{app:bolt:3}:windows")
    assert {'"a"', '"b"'} == rows(client).keys()


def test_each_row_is_migrated(client: redis.Redis) -> None:
    """
    By the user's function: result and state go in and out; what it returns None for is gone.
    """
    seen = []

    def migrate(stored: Stored) -> Stored | None:
        seen.append(stored)
        if stored.key == "b":
            return None
        return stored._replace(result={"n": stored.result and stored.result["n"], "m": 0}, state=[1, 0])

    begin_run(client, "app", NEW, "migrate", {"bolt": migrate})
    assert [Stored("a", "w", {"n": 1}, [1]), Stored("b", "w", {"n": 2}, None)] == sorted(seen)
    assert {'"a"': {"n": 1, "m": 0}} == rows(client)
    assert {'"a"': [1, 0]} == rows(client, "s")


def test_a_migration_that_raises_changes_nothing(client: redis.Redis) -> None:
    """
    The message names the row; the old version can go on.
    """

    def migrate(stored: Stored) -> Stored | None:
        if stored.key == "b":
            raise ValueError("what is this")
        return None

    before = rows(client)
    with pytest.raises(StateError, match=r"bolt\.migrate raised ValueError: what is this, for Stored\(key='b'"):
        begin_run(client, "app", NEW, "migrate", {"bolt": migrate})
    with pytest.raises(StateError, match="bolt has no method migrate"):
        begin_run(client, "app", NEW, "migrate")
    assert before == rows(client)
    assert 2 == begin_run(client, "app", OLD)


def test_a_migration_that_raises_in_one_bolt_changes_no_other(client: redis.Redis) -> None:
    """
    Else the next try would migrate again what is migrated already.
    """
    both = Version("new", {"bolt": {"key": "user", "window": ["w", "v"]}, "other": {"key": "user", "window": ["w"]}})
    client.hset("{app:other:3}:live", "w:0", '{"start":0,"end":10,"state":"open","revision":0}')
    client.hset("{app:other:3}:w:w:0", '"a"', '{"n":1}')
    before = rows(client)

    def doubled(stored: Stored) -> Stored:
        assert stored.result is not None
        return stored._replace(result={"n": 2 * stored.result["n"]})

    with pytest.raises(StateError, match="other.migrate raised"):
        begin_run(client, "app", both, "migrate", {"bolt": doubled, "other": lambda stored: 1 // 0})
    assert before == rows(client)
    begin_run(client, "app", both, "migrate", {"bolt": doubled, "other": doubled})
    assert {'"a"': {"n": 2}, '"b"': {"n": 4}} == rows(client)


def test_dropped_state_is_that_of_the_changed_bolt_alone(client: redis.Redis) -> None:
    """
    Its state and results go; those of the others stay.
    """
    begin_run(client, "app", NEW, "drop")
    assert [] == list(client.scan_iter(match="{app:bolt:*"))
    assert b"kept" == client.get("{app:other:3}:x")


def test_what_may_come_again_is_not_counted_under_other_keys(client: redis.Redis) -> None:
    """
    Counted and not yet committed: another version has to wait, even if only the wiring has changed.
    """
    client.hset("{app}:commits", "t/0", 8)
    for version, choice in ((NEW, "keep"), (REWIRED, None)):
        with pytest.raises(StateError, match="may come again"):
            begin_run(client, "app", version, choice)  # type: ignore[arg-type]
    client.hset("{app}:commits", "t/0", 9)
    assert 2 == begin_run(client, "app", REWIRED)
