"""A sink below a keyed bolt: outputs and rows of windows come at least once, each under one identity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from sink_parts import Hourly, Trade, Trades, trade

from stormline import KafkaSink, KafkaSpout, Message, ProcessBolt, Record, State, Topology
from stormline.core.events import Unsent
from stormline.testing import Driver


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
