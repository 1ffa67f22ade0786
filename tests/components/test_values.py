"""Values in Kafka as records: each kind of value, each type of field, and fields from around the value."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from stormline import FilterBolt, FromKafka, KafkaSpout, Record, SettingsError, Topology
from stormline.components.decoding import Decoder
from stormline.core.batch import Rows
from stormline.core.events import Fetched
from stormline.multilang.coding import decode_rows, encode_rows
from stormline.testing import Driver


class Side(enum.Enum):
    buy = "buy"
    sell = "sell"


class Place(msgspec.Struct, frozen=True):
    city: str
    at: tuple[float, float] | None = None


class Card(msgspec.Struct, tag="card", frozen=True):
    last4: str


class Transfer(msgspec.Struct, tag="transfer", frozen=True):
    iban: str


class Order(Record):
    number: int
    weight: float
    amount: Decimal
    at: datetime
    day: date
    side: Side
    place: Place
    paid: Card | Transfer
    note: str | None = None


ORDER = Order(
    2**53 + 1,
    0.1,
    Decimal("11.10"),
    datetime(2020, 1, 1, 12, tzinfo=UTC),
    date(2020, 1, 1),
    Side.sell,
    Place("Rome", (41.9, 12.5)),
    Transfer("IT60"),
)
IN_JSON = b"""{"number": 9007199254740993, "weight": 0.1, "amount": 11.10, "at": "2020-01-01T12:00:00Z",
"day": "2020-01-01", "side": "sell", "place": {"city": "Rome", "at": [41.9, 12.5]},
"paid": {"type": "transfer", "iban": "IT60"}}"""


def driver(**settings: Any) -> Driver:
    """A spout with these settings, and a bolt whose records are in `seen`."""
    seen: list[Any] = []

    def keep(self: Any, record: Any) -> bool:
        seen.append(record)
        return True

    spout = type("Spout", (KafkaSpout,), {"topic": "t", **settings})
    bolt = type("Bolt", (FilterBolt,), {"keep": keep})
    members: dict[str, Any] = {"spout": spout.spec()}  # type: ignore[attr-defined]
    members["bolt"] = bolt.spec(inputs=[members["spout"]])  # type: ignore[attr-defined]
    made: Any = type(Topology)("Tried", (Topology,), members)
    tried = Driver(made)
    tried.seen = seen  # type: ignore[attr-defined]
    return tried


def seen(tried: Any) -> list[Any]:
    found: list[Any] = tried.seen
    return found


@pytest.mark.parametrize(("value", "raw"), [("json", IN_JSON), ("msgpack", msgspec.msgpack.encode(ORDER))])
def test_each_type_of_field_is_read_exactly(value: str, raw: bytes) -> None:
    """Int beyond a float, float, Decimal with its zeros, datetime, date, enum, nested, tagged union, optional."""
    tried = driver(schema=Order, value=value)
    tried.send(raw)
    (record,) = seen(tried)
    assert record == ORDER
    assert str(record.amount) == "11.10"


def test_records_survive_the_way_to_another_process() -> None:
    """What a worker or a multilang pipe sends of a record is the record, marked fields and bytes included."""
    rows = Rows([0], [0], [ORDER], None)
    assert decode_rows(encode_rows(rows), Order) == rows
    marked = Rows([0], [0], [Visit("ann", {"h": b"\xff"}, 7, "t/0/0", "p")], None)
    assert decode_rows(encode_rows(marked), Visit) == marked


class Line(Record):
    line: str


class Raw(Record):
    raw: bytes


def test_text_and_bytes_fill_the_one_field() -> None:
    """Text is UTF-8, what is none is broken; bytes are as they came."""
    tried = driver(schema=Line, value="text")
    for raw in ("grüß".encode(), b"\xff"):
        tried.send(raw)
    assert seen(tried) == [Line("grüß")]
    assert "'utf-8' codec can't decode" in tried.dead_letters()[0].reason
    tried = driver(schema=Raw, value="bytes")
    tried.send(b"\xff\x00")
    assert seen(tried) == [Raw(b"\xff\x00")]


class Pair(Record):
    left: int
    right: int


def halves(self: Any, raw: bytes) -> Any:
    left, right = raw.split(b":")
    return Pair(int(left), int(right))


def test_a_decoder_of_the_users_own_reads_values() -> None:
    """It gets the bytes; what it raises, or returns in the place of a record, is a dead letter that says where."""
    tried = driver(schema=Pair, decode=halves)
    for raw in (b"1:2", b"1:2:3", b"3:x", b"5:6"):
        tried.send(raw, run=False)
    tried.run()
    assert seen(tried) == [Pair(1, 2), Pair(5, 6)]
    first, second = tried.dead_letters()
    assert "halves (" in first.reason
    assert "test_values.py:" in first.reason
    assert "too many values to unpack" in first.traceback
    assert (second.value, second.origin) == (b"3:x", "t/0/2")

    tried = driver(schema=Pair, decode=lambda self, raw: None)
    tried.send(b"1:2")
    assert "decode returned None, which is no Pair" in tried.dead_letters()[0].reason


class Visit(Record):
    user: Annotated[str, FromKafka.key]
    headers: Annotated[dict[str, bytes], FromKafka.headers]
    at: Annotated[int, FromKafka.timestamp]
    origin: Annotated[str, FromKafka.origin]
    page: str


def test_key_headers_timestamp_and_origin_are_fields_that_ask_for_them() -> None:
    """Each comes from around the value, whatever the value says; a key that is no text is broken."""
    tried = driver(schema=Visit)
    tried.send({"page": "/a", "user": "liar"}, key="jü".encode(), headers={"trace": b"\x01"}, time_ms=5)
    tried.send({"page": "/b"}, key=b"\xff")
    tried.send({"page": "/c"}, key=None)
    assert seen(tried) == [Visit("jü", {"trace": b"\x01"}, 5, "t/0/0", "/a")]
    not_text, none = tried.dead_letters()
    assert "its key is b'\\xff'" in not_text.reason
    assert "its key is None: Expected `str`, got `null`" in none.reason


def test_each_record_of_a_fetch_has_its_own_message() -> None:
    """Also where a fetch is cut into batches: keys, headers and origins stay with their values."""
    tried = driver(schema=Visit, max_batch=2)
    for n in range(5):
        tried.send({"page": f"/{n}"}, key=b"%d" % n, headers={"n": b"%d" % n}, time_ms=n, run=False)
    tried.run()
    assert seen(tried) == [Visit(f"{n}", {"n": b"%d" % n}, n, f"t/0/{n}", f"/{n}") for n in range(5)]


class Typed(Record):
    user: Annotated[int | None, FromKafka.key]
    at: Annotated[datetime, FromKafka.timestamp]
    amount: Decimal = Decimal(1)


def test_a_key_and_a_timestamp_are_read_as_the_fields_type() -> None:
    """A key `17` fills an int field, no key an optional one; a timestamp a datetime, which can be the event time."""
    tried = driver(schema=Typed, event_time="at", max_ahead="100000d")
    tried.send(b"{}", key=b"17", time_ms=1_000)
    tried.send(b"{}", time_ms=2_000)
    tried.send(b"{}", key=b"x")
    at = [datetime(1970, 1, 1, 0, 0, second, tzinfo=UTC) for second in (1, 2)]
    assert seen(tried) == [Typed(17, at[0]), Typed(None, at[1])]
    assert "its key is b'x'" in tried.dead_letters()[0].reason


class Own(Record):
    left: int
    user: Annotated[bytes, FromKafka.key] = b""


def test_a_decoder_of_ones_own_and_marked_fields_go_together() -> None:
    """The marked fields of what it returns are filled in."""
    tried = driver(schema=Own, decode=lambda self, raw: Own(int(raw)))
    tried.send(b"7", key=b"\xff")
    assert seen(tried) == [Own(7, b"\xff")]


class Profile(Record, rename="camel", forbid_unknown_fields=True):
    user_id: Annotated[str, FromKafka.key]
    deleted: Annotated[bool, FromKafka.tombstone]
    full_name: str | None = None
    tags: list[str] = msgspec.field(default_factory=list)


def test_a_tombstone_is_a_record_where_the_schema_asks_for_it() -> None:
    """Its other fields have their defaults; names on the wire and unknown fields are as the schema has them."""
    tried = driver(schema=Profile)
    tried.send(b'{"fullName": "Ann", "tags": ["a"]}', key=b"1")
    tried.send(None, key=b"1")
    tried.send(b'{"fullname": "Ann"}', key=b"1")
    assert seen(tried) == [Profile("1", False, "Ann", ["a"]), Profile("1", True, None, [])]
    assert "unknown field `fullname`" in tried.dead_letters()[0].reason


def test_a_tombstone_is_broken_where_nobody_asked_for_it() -> None:
    """Not dropped: it is a dead letter with its reason."""
    tried = driver(schema=Visit)
    tried.send(None, key=b"1")
    assert seen(tried) == []
    assert "it has no value (a tombstone)" in tried.dead_letters()[0].reason


def lenient(_: Any, raw: bytes | None) -> Line:
    return Line(str(raw))


@pytest.mark.parametrize("settings", [{"schema": Raw, "value": "bytes"}, {"schema": Line, "decode": lenient}])
def test_a_tombstone_is_no_value_of_bytes_and_nothing_to_decode(settings: dict[str, Any]) -> None:
    """A schema with bytes gets no None, nor does a method decode; the reason is the same as for JSON."""
    tried = driver(**settings)
    tried.send(None, key=b"1")
    assert seen(tried) == []
    assert [letter.reason for letter in tried.dead_letters()] == ["spout: it has no value (a tombstone)"]


class Timed(Record):
    at: datetime | int


def test_a_time_that_cannot_be_is_broken_with_its_reason() -> None:
    """No timestamp (-1), the year 9999 in a field or as timestamp, a timestamp beyond all dates."""
    tried = driver(schema=Line)
    for time_ms in (-1, 253_402_300_799_000, 10**17, 0):
        tried.send(Line("x"), time_ms=time_ms)
    assert len(seen(tried)) == 1
    first, *far = [letter.reason for letter in tried.dead_letters()]
    assert "its Kafka timestamp is -1, so it has no time" in first
    assert all("in the future; it would close every window before it" in reason for reason in far)

    tried = driver(schema=Timed, event_time="at")
    tried.send({"at": "9999-12-31T23:59:59-12:00"})
    assert "in the future" in tried.dead_letters()[0].reason

    tried = driver(schema=Typed)
    tried.send(b"{}", time_ms=10**17)
    tried.send(b"{}", time_ms=-1)
    assert len(tried.dead_letters()) == 2
    assert seen(tried) == []


def test_max_ahead_says_how_far_is_too_far() -> None:
    """A record within it is taken, one beyond is broken."""
    tried = driver(schema=Line, max_ahead="1h")
    now_ms = tried.clock.now_ms()
    tried.send(Line("in"), time_ms=now_ms + 3_600_000)
    tried.send(Line("out"), time_ms=now_ms + 3_600_001)
    assert seen(tried) == [Line("in")]


class Unasked(list[Any]):
    """A column nobody may look into."""

    def __getitem__(self, at: Any) -> Any:
        raise AssertionError("looked into")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("looked into")


def test_what_no_field_asks_for_is_not_looked_at() -> None:
    """Keys, timestamps and headers of records that can be read stay packed."""
    unasked = Unasked([1])
    fetched = Fetched("t/0", [0], unasked, unasked, [IN_JSON], 1, 1, unasked)
    rows, bad = Decoder(Order, "at", 10**15).rows(fetched, 0)
    assert (rows.values, bad) == ([ORDER], [])


def spout(**settings: Any) -> Any:
    return type("Mine", (KafkaSpout,), {"topic": "t", **settings}).spec()  # type: ignore[attr-defined]


class WrongHeaders(Record):
    headers: Annotated[str, FromKafka.headers]
    time: Annotated[str, FromKafka.timestamp]
    origin: Annotated[int, FromKafka.origin]


class NoDefault(Record):
    gone: Annotated[bool, FromKafka.tombstone]
    name: str


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"schema": Line, "value": "xml"}, ['give "json", "msgpack", "text" or "bytes"']),
        ({"schema": Pair, "value": "text"}, ["fills one field of type str; Pair has left, right"]),
        ({"schema": Line, "value": "bytes"}, ["fills one field of type bytes; Line has line"]),
        ({"schema": Pair, "value": "msgpack", "decode": halves}, ["and a method decode; leave one of them out"]),
        ({"schema": Visit, "decode": halves}, ["Visit.user is FromKafka.key", "it needs a default"]),
        ({"schema": NoDefault}, ["asks for tombstones", "name a default"]),
        (
            {"schema": WrongHeaders},
            ["headers is FromKafka.headers, so its type must be dict[str, bytes]", "int or datetime", "must be str"],
        ),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_starts(settings: dict[str, Any], told: list[str]) -> None:
    """All faults at once, with field, what it is and what it must be."""
    with pytest.raises(SettingsError) as caught:
        spout(**settings)
    assert all(words in str(caught.value) for words in told), str(caught.value)


def test_the_json_of_the_test_is_json() -> None:
    """The amount in it has its trailing zero."""
    assert json.loads(IN_JSON, parse_float=str)["amount"] == "11.10"
