"""Another number of slots for what is stored, on a real server: refused where slots are not equally far."""

from collections.abc import Iterator

import msgspec
import pytest
import redis

from stormline.connectors.redis import begin_run, clear, connect
from stormline.connectors.slots import change_slots, stored_slots
from stormline.connectors.versions import Version
from stormline.core.errors import StateError
from stormline.core.window import sliding, sliding_named

WAS = Version("graph", {"bolt": {"key": "user"}}, slots=4)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with connect(url) as client:
        clear(client, "app")
        begin_run(client, "app", WAS)
        yield client


def window(client: redis.Redis, slot: int, field: str, entry: tuple[int, int, str], *, live: bool = True) -> None:
    """A window of a slot, with a row of its own."""
    start, end, state = entry
    raw = msgspec.json.encode({"start": start, "end": end, "state": state, "revision": 0})
    for index in ("live", "windows"):
        if (index == "live" and live) or (index == "windows" and "#" not in field):
            client.hset(f"{{app:bolt:{slot}}}:{index}", field, raw)
    client.hset(f"{{app:bolt:{slot}}}:w:{field}", f"{slot}", '{"n":1}')


def mark(client: redis.Redis, slot: int, watermark_ms: int) -> None:
    client.hset(f"{{app:bolt:{slot}}}:slot", mapping={"wm": watermark_ms, "seq": 7})


@pytest.mark.parametrize(
    ("field", "entry"),
    [("tumbling-20ms:40", (40, 60, "open")), ("sliding-10ms-5ms#panes:90", (90, 95, "open"))],
)
def test_what_is_still_to_be_closed_is_not_spread(client: redis.Redis, field: str, entry: tuple[int, int, str]) -> None:
    """
    One slot has come to 100, the other not to the end of its window: nothing changes, the message says what to do.
    """
    mark(client, 1, 100)
    mark(client, 2, 50)
    window(client, 2, field, entry)
    with pytest.raises(StateError, match="have not closed yet: start app once more with 4 slots"):
        change_slots(client, "app", 3)
    assert 4 == stored_slots(client, "app")


def test_what_is_done_in_one_slot_and_not_in_another_is_not_spread(client: redis.Redis) -> None:
    """
    Its rows would be those of one window that may change, without what is needed to change them.
    """
    mark(client, 1, 100)
    mark(client, 2, 70)
    window(client, 1, "tumbling-20ms:40", (40, 60, "final"), live=False)
    window(client, 2, "tumbling-20ms:40", (40, 60, "final"))
    with pytest.raises(StateError, match="have not closed yet"):
        change_slots(client, "app", 3)


def test_what_nothing_has_closed_is_spread(client: redis.Redis) -> None:
    """
    A slot without news has an older watermark; its windows end later than the highest one.
    """
    mark(client, 1, 100)
    mark(client, 2, 50)
    window(client, 2, "tumbling-100ms:40", (40, 140, "open"))
    window(client, 2, "sliding-200ms-200ms#panes:0", (0, 200, "open"))
    window(client, 3, "state:0", (0, 253_402_300_800_000, "open"))
    assert 3 == change_slots(client, "app", 3)
    assert 3 == stored_slots(client, "app")


def test_a_name_says_how_windows_slide() -> None:
    """
    Size, slide and offset, as they were given.
    """
    for kind in (sliding("10s", "5s"), sliding("1h", "7m", offset="90s")):
        read = sliding_named(kind.name)
        assert read is not None
        assert vars(kind) == vars(read)
    assert sliding_named("tumbling-5ms") is None
