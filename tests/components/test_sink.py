"""A bolt that writes to Kafka: at least once, acked when confirmed, and what comes twice can be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from stormline import (
    Count,
    FilterBolt,
    KafkaSink,
    KafkaSpout,
    Message,
    ProcessBolt,
    Record,
    SettingsError,
    State,
    Sum,
    Topology,
    WindowBolt,
    tumbling,
)
from stormline.components import kafka_sink
from stormline.core.events import Unsent
from stormline.testing import Driver


class Trade(Record):
    at: int
    user: str
    amount: Decimal


class Trades(KafkaSpout):
    topic = "trades"
    schema = Trade
    event_time = "at"


class All(FilterBolt):
    def keep(self, trade: Trade) -> bool:
        return trade.amount >= 0


class Copies(KafkaSink):
    topic = "copies"


class Chosen(KafkaSink):
    topic = "chosen"

    def message(self, trade: Trade) -> Message | None:
        if trade.amount == 0:
            return None
        if trade.user == "gone":
            return Message(None, key=trade.user)
        return Message(f"{100 / (trade.amount - 7):.2f}", key=trade.user.encode(), headers={"a": "ü", "b": b"\xff"})


class Copying(Topology):
    trades = Trades.spec()
    kept = All.spec(inputs=[trades])
    copies = Copies.spec(inputs=[kept])


class CopyingChained(Topology):
    trades = Trades.spec()
    kept = All.spec(inputs=[trades], chain=True)
    copies = Copies.spec(inputs=[kept])


class Choosing(Topology):
    trades = Trades.spec()
    chosen = Chosen.spec(inputs=[trades])


def trade(at: int = 0, user: str = "ann", amount: str = "8") -> Trade:
    return Trade(at, user, Decimal(amount))


@pytest.mark.parametrize("topology", [Copying, CopyingChained])
def test_each_record_is_written_as_json_with_its_origin_and_identity(topology: type) -> None:
    """The default message is the record; headers say where it came from, and which it is, chained or not."""
    tried = Driver(topology)
    tried.send(trade(amount="1.10"))
    (message,) = tried.messages("copies")
    assert (message.value, message.key) == (b'{"at":0,"user":"ann","amount":"1.10"}', None)
    assert message.headers == {"origin": b"trades/0/0", "id": b"trades.batch/kept.batch:trades/0/0"}
    (status,) = tried.status()["copies"]
    assert (status.records_in, status.records_out, status.broken) == (1, 1, 0)


def test_a_message_of_ones_own_says_value_key_and_headers() -> None:
    """Text and bytes as they are, None a tombstone; no message, nothing sent. All of it is acked."""
    tried = Driver(Choosing)
    for made in (trade(), trade(user="gone"), trade(amount="0")):
        tried.send(made)
    first, gone = tried.messages("chosen")
    assert (first.key, first.value, first.headers["a"], first.headers["b"]) == (
        b"ann",
        b"100.00",
        "ü".encode(),
        b"\xff",
    )
    assert (gone.key, gone.value) == (b"gone", None)
    (status,) = tried.status()["chosen"]
    assert (status.records_in, status.records_out, status.dropped) == (3, 2, 1)
    assert tried.acked == 3


def test_a_message_that_cannot_be_made_breaks_its_record_alone() -> None:
    """It goes to the dead letters with function, file and origin; the others of its batch are written."""
    tried = Driver(Choosing)
    for amount in ("8", "7", "9"):
        tried.send(trade(amount=amount), run=False)
    tried.run()
    assert [message.value for message in tried.messages("chosen")] == [b"100.00", b"50.00"]
    (letter,) = tried.dead_letters("trades")
    assert "Chosen.message (" in letter.reason
    assert "DivisionByZero" in letter.reason
    assert (letter.component, letter.origin) == ("chosen", "trades/0/1")
    assert tried.acked == 3


def test_a_tuple_is_acked_only_when_kafka_has_all_of_it() -> None:
    """While one message is not confirmed nothing is committed; it is sent again, alone, until it is."""
    tried = Driver(Copying)
    for at in range(3):
        tried.send(trade(at), run=False)
    tried.refuse_next_write()
    tried.refuse_next_write()
    tried.run()
    assert (len(tried.messages("copies")), tried.acked) == (1, 0)
    tried.advance("900ms")
    assert tried.committed == {"trades/0": 0}
    (status,) = tried.status()["copies"]
    assert (status.trouble, status.settled) == ("cannot write to copies: the broker is full; trying again", False)
    tried.advance("3s")
    assert sorted(json.loads(message.value or b"")["at"] for message in tried.messages("copies")) == [0, 1, 2]
    assert (tried.acked, tried.committed) == (3, {"trades/0": 3})
    assert tried.status()["copies"][0].trouble is None


def test_a_bounded_run_ends_when_all_is_written() -> None:
    """Not before: what Kafka has not confirmed keeps the run open."""
    tried = Driver(Copying)
    tried.refuse_next_write()
    tried.send(trade())
    tried.end()
    assert len(tried.messages("copies")) == 1


def test_what_comes_again_has_the_same_identity() -> None:
    """A crash between Kafka's confirmation and the commit writes it twice; the header `id` tells."""
    tried = Driver(Copying)
    tried.send(trade())
    tried.crash()
    tried.end()
    first, again = tried.messages("copies")
    assert first.headers == again.headers


def test_a_record_that_kafka_never_takes_is_a_dead_letter() -> None:
    """One that is too large is not tried for ever; it is cut where even the letter would be too large."""
    tried = Driver(Copying)
    tried.log.max_bytes = 2_000
    tried.send(trade(user="ü" * 995), run=False)
    tried.send(trade(user="x" * 700), run=False)
    tried.run()
    tried.advance("5s")
    assert len(tried.messages("copies")) == 1
    (letter,) = tried.messages("trades.dead")
    assert letter.value is None
    assert b"the record has" in letter.headers["reason"]
    assert b"was left out" in letter.headers["cut"]
    assert tried.committed == {"trades/0": 2}


def test_a_dead_letter_is_cut_between_characters() -> None:
    """Whatever its headers end with is text: one of these two would be cut within a character."""
    tried = Driver(Choosing)
    tried.log.max_bytes = 2_500
    for user in ("ü" * 2_000, "a" + "ü" * 2_000):
        tried.send(trade(user=user, amount="7"))
    tried.advance("5s")
    letters = tried.dead_letters("trades")
    assert sorted(len(letter.reason.encode()) for letter in letters) == [999, 1_000]
    assert all("Chosen.message (" in letter.reason for letter in letters)


def test_a_dead_letter_that_fits_nowhere_is_told_and_holds_its_record() -> None:
    """
    It is cut three times, and what broke is neither acked nor committed; once the topic may hold it, it goes.
    """
    tried = Driver(Copying)
    tried.log.max_bytes = 100
    tried.send(trade(user="x" * 1_990))
    tried.advance("5s")
    (status,) = tried.status()["copies"]
    assert status.trouble is not None
    assert "cannot write to trades.dead: topic trades.dead: the record has" in status.trouble
    assert (tried.acked, tried.committed, tried.messages("copies")) == (0, {"trades/0": 0}, [])
    tried.log.max_bytes = 1_000
    tried.advance("35s")
    assert ({"trades/0": 1}, 1) == (tried.committed, len(tried.dead_letters("trades")))
    (status,) = tried.status()["copies"]
    assert status.trouble is None


def test_no_more_is_in_flight_than_the_client_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits as records, and goes on as confirmations come."""
    monkeypatch.setattr(kafka_sink, "MOST_IN_FLIGHT", 10)
    tried = Driver(Copying)
    for at in range(35):
        tried.send(trade(at), run=False)
    for _ in range(100):
        tried.refuse_next_write()
    tried.run()
    assert 90 == len(tried.log.refusals)
    tried.log.refusals.clear()
    tried.advance("2s")
    assert list(range(35)) == sorted(json.loads(message.value or b"")["at"] for message in tried.messages("copies"))
    assert tried.acked == 35


def test_what_waits_is_written_once_however_often_it_comes_again() -> None:
    """Kafka takes nothing for minutes, and the spout emits it all again and again: each message is written once then,
    by whichever tuple came last, and all is acked."""
    tried = Driver(Copying)
    for at in range(20):
        tried.send(trade(at), run=False)
    tried.log.refusals.extend([Unsent("there is no such topic")] * 100_000)
    tried.run()
    tried.advance("3m")
    assert tried.failed >= 3
    tried.log.refusals.clear()
    tried.advance("30s")
    written = [json.loads(message.value or b"")["at"] for message in tried.messages("copies")]
    assert sorted(written) == list(range(20))
    assert (tried.acked, tried.committed) == (20, {"trades/0": 20})


class Hourly(WindowBolt):
    key = "user"
    window = tumbling("1h")
    aggregate = {"trades": Count(), "amount": Sum("amount")}


class Row(Record):
    key: str
    trades: int
    amount: Decimal


class Alerts(KafkaSink):
    topic = "alerts"
    schema = Row

    def message(self, row: Row) -> Message:
        return Message(row, key=row.key)


class Alerting(Topology):
    trades = Trades.spec()
    hourly = Hourly.spec(inputs=[trades])
    alerts = Alerts.spec(inputs=[hourly["final"]])


class Account(State):
    total: int = 0


class Passed(Record):
    user: str
    total: int


class Accounts(ProcessBolt):
    key = "user"
    state = Account
    schema = Passed

    def process(self, trade: Trade, account: Account) -> Iterator[object]:
        account.total += int(trade.amount)
        yield Passed(trade.user, account.total)


class PassedOn(KafkaSink):
    topic = "passed"


class Passing(Topology):
    trades = Trades.spec()
    accounts = Accounts.spec(inputs=[trades])
    passed = PassedOn.spec(inputs=[accounts])


@pytest.mark.parametrize("seed", range(5))
def test_results_of_keyed_bolts_come_at_least_once_under_one_identity(seed: int) -> None:
    """Whatever dies and is refused: each output is there, and those with one `id` say the same."""
    tried = Driver(Passing, seed=seed, partitions=2)
    for n in range(20):
        tried.send(trade(n, f"u{n % 3}", "1"), partition=n % 2)
        if n % 4 == seed % 4:
            tried.refuse_next_write()
        if n == 7:
            tried.kill("passed")
        if n == 13:
            tried.advance("600ms")
            tried.crash()
    tried.end()
    by_id: dict[bytes, set[bytes | None]] = {}
    for message in tried.messages("passed"):
        by_id.setdefault(message.headers["id"], set()).add(message.value)
    assert all(len(values) == 1 for values in by_id.values())
    expected = [
        f'{{"user":"u{u}","total":{total}}}' for u, many in ((0, 7), (1, 7), (2, 6)) for total in range(1, many + 1)
    ]
    assert sorted(expected) == sorted((value or b"").decode() for (value,) in map(tuple, by_id.values()))


def test_results_that_wait_are_written_once_too() -> None:
    """Those of a keyed bolt are sent again until they have arrived, each under its `id`."""
    tried = Driver(Passing, bounded=False)
    tried.log.refusals.extend([Unsent("there is no such topic")] * 10_000)
    for n in range(5):
        tried.send(trade(n, "ann", "1"))
    tried.advance("70s")
    tried.log.refusals.clear()
    tried.advance("30s")
    assert [1, 2, 3, 4, 5] == sorted(json.loads(message.value or b"")["total"] for message in tried.messages("passed"))


class Named(Record):
    id: str
    name: str


class Names(KafkaSpout):
    topic = "names"
    schema = Named


class Called(KafkaSink):
    topic = "called"
    schema = Named

    def message(self, named: Named) -> Message:
        return Message(named.name)


class Naming(Topology):
    names = Names.spec()
    called = Called.spec(inputs=[names["default"]])


def test_two_tuples_that_say_different_things_under_one_id_are_both_written() -> None:
    """A stock component may call anything `id`."""
    tried = Driver(Naming)
    tried.log.refusals.extend([Unsent("there is no such topic")] * 4)
    for name in ("ann", "bob"):
        tried.send(Named("7", name), run=False)
    tried.run()
    tried.advance("5s")
    assert [b"ann", b"bob"] == sorted(message.value or b"" for message in tried.messages("called"))


def test_rows_of_a_window_are_read_as_the_sinks_schema() -> None:
    """A stream of a window bolt: its fields by name, its identity in the header."""
    tried = Driver(Alerting)
    tried.send(trade(0, "ann", "1.50"))
    tried.send(trade(1, "ann", "2.50"))
    tried.end()
    (message,) = tried.messages("alerts")
    assert (message.key, message.value) == (b"ann", b'{"key":"ann","trades":2,"amount":"4.00"}')
    assert message.headers["id"].startswith(b"hourly/")
    assert "origin" not in message.headers


def test_a_tuple_that_is_no_record_of_the_schema_is_a_dead_letter() -> None:
    """A key that is no text: kept in the component's own dead-letter topic, and acked."""

    tried = Driver(Odd)
    tried.send(trade())
    tried.end()
    (letter,) = tried.dead_letters("odd")
    assert "Expected `int`" in letter.reason
    assert "hourly/final" in letter.reason


class Whole(Record):
    key: int


class OddSink(KafkaSink):
    topic = "odd"
    schema = Whole


class Odd(Topology):
    trades = Trades.spec()
    hourly = Hourly.spec(inputs=[trades])
    odd = OddSink.spec(inputs=[hourly["final"]])


def wrong(record: Any, **settings: Any) -> Any:
    return type("Mine", (KafkaSink,), {"topic": "t", **settings}).spec(inputs=[Trades.spec()])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: type("Mine", (KafkaSink,), {}).spec(inputs=[Trades.spec()]), "Mine needs the setting topic"),
        (lambda: type("Mine", (KafkaSink,), {"topik": "t"}), "did you mean topic?"),
        (lambda: Copies.spec(), "Copies.spec() needs inputs"),
        (lambda: Copies.spec(inputs=[Hourly.spec(inputs=[Trades.spec()])["final"]]), "needs the setting schema"),
        (lambda: All.spec(inputs=[Copies.spec(inputs=[Trades.spec()])]), "Copies has no stream default"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(make: Any, told: str) -> None:
    """A missing topic, a misspelt setting, no input, plain tuples without a schema, a bolt below a sink."""
    with pytest.raises(SettingsError) as caught:
        make()
    assert told in str(caught.value)


@pytest.mark.parametrize("returned", ["text", Message("v", key=5), Message("v", headers={"h": 1})])  # type: ignore[arg-type, dict-item]
def test_what_is_no_message_breaks_its_record(returned: Any) -> None:
    """A return value, key or header of another type is told with what it is."""
    tried = Driver(type("Mine", (KafkaSink,), {"topic": "t", "message": lambda self, _: returned}), schema=Trade)
    tried.send(trade())
    (letter,) = tried.dead_letters()
    assert "TypeError" in letter.reason
    assert tried.acked == 1
