"""Stock components between ours, and ours behind stock ones: what is guaranteed then."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from streamparse import Bolt, Grouping, Spout, Topology

from stormline import Count, FilterBolt, KafkaSpout, Record, SettingsError, Sum, WindowBolt, tumbling
from stormline.testing import Driver
from stormline.testing.log import DeadLetter

SEEN: list[Any] = []
SAYS: list[list[Any]] = []
ENDED: list[Any] = []


class Sale(Record):
    at: datetime
    amount: Decimal
    user: str


class SaleSpout(Spout):
    outputs: ClassVar[list[str]] = ["user", "amount", "at"]

    def next_tuple(self) -> None:
        if SAYS:
            self.emit(SAYS.pop(0), tup_id=len(SAYS))

    def ack(self, tup_id: Any) -> None:
        ENDED.append(("ack", tup_id))

    def fail(self, tup_id: Any) -> None:
        ENDED.append(("fail", tup_id))


class TakeBolt(Bolt):
    def process(self, tup: Any) -> None:
        SEEN.append(tup.values)


class Large(FilterBolt):
    schema = Sale
    event_time = "at"

    def keep(self, sale: Sale) -> bool:
        return sale.amount >= 10


class PerUser(WindowBolt):
    schema = Sale
    event_time = "at"
    out_of_order = "10s"
    key = "user"
    window = tumbling("1m")
    aggregate: ClassVar[dict[str, Any]] = {"sales": Count(), "amount": Sum("amount")}


def sale(user: str, amount: str, at: str) -> list[Any]:
    return [user, amount, f"2020-01-01T00:{at}"]


class Sales(KafkaSpout):
    topic = "sales"
    schema = Sale
    event_time = "at"


class Onward(Bolt):
    outputs: ClassVar[list[str]] = ["user", "amount", "at"]

    def process(self, tup: Any) -> None:
        self.emit([tup.values.user, tup.values.amount, tup.values.at])


@pytest.fixture(autouse=True)
def _empty() -> None:
    for noted in (SEEN, SAYS, ENDED):
        noted.clear()


def test_a_stock_bolt_reads_our_records_as_plain_tuples() -> None:
    """
    Behind a spout of ours and behind a filter, a stock bolt gets one tuple for each record, named by the schema's
    fields, in JSON forms, grouped as it says; the offset is committed once it has acked.
    """

    class Mixed(Topology):
        sales = Sales.spec()
        large = Large.spec(inputs=[sales])
        take = TakeBolt.spec(inputs={sales: Grouping.fields("user"), large: Grouping.SHUFFLE})

    driver = Driver(Mixed)
    driver.send({"user": "ann", "amount": "12.50", "at": "2020-01-01T00:00:01"})
    driver.send({"user": "bob", "amount": 1, "at": "2020-01-01T00:00:02"})
    driver.advance("3s")
    assert ["ann", "ann", "bob"] == sorted(values.user for values in SEEN)
    (amount,) = {values.amount for values in SEEN if values.user == "ann"}
    assert ("12.50", "2020-01-01T00:00:01") == (amount, SEEN[0].at)
    assert {"sales/0": 2} == driver.committed


def test_our_bolts_count_what_a_stock_spout_emits() -> None:
    """
    Behind a stock spout a filter and a window bolt take plain tuples; a tuple is acked only after the flush, and a
    window closes when a record later than its end by `out_of_order` has been seen.
    """

    class Mixed(Topology):
        sales = SaleSpout.spec()
        large = Large.spec(inputs=[sales])
        users = PerUser.spec(inputs=[large], par=2)

    driver = Driver(Mixed)
    SAYS[:] = [sale("ann", "10.50", "00:01"), sale("ann", "20", "00:59"), sale("bob", "1", "00:02")]
    driver.run()
    assert [("ack", 0)] == ENDED  # the small one, which is dropped
    driver.advance("2s")
    assert [("ack", 0), ("ack", 1), ("ack", 2)] == sorted(ENDED)
    (row,) = driver.results("users")
    assert ({"sales": 2, "amount": "30.50"}, "open") == (row.values, row.state)
    SAYS[:] = [sale("ann", "50", "01:09")]
    driver.advance("2s")
    assert ["open", "open"] == [row.state for row in driver.results("users")]
    SAYS[:] = [sale("ann", "50", "01:10")]
    driver.advance("2s")
    assert ["final", "open"] == sorted(row.state for row in driver.results("users"))


def test_without_an_origin_a_record_that_comes_again_counts_again() -> None:
    """
    At least once: the same plain tuple twice is two sales; nothing is remembered of it.
    """

    class Mixed(Topology):
        sales = SaleSpout.spec()
        users = PerUser.spec(inputs=[sales])

    driver = Driver(Mixed)
    SAYS[:] = [sale("ann", "5", "00:01")] * 2
    driver.advance("2s")
    (row,) = driver.results("users")
    assert 2 == row.values["sales"]


def test_a_stock_bolt_between_ours_keeps_records_at_least_once() -> None:
    """
    From our spout through a stock bolt to a window: all arrive, are counted, and are acked after the flush.
    """

    class Mixed(Topology):
        sales = Sales.spec()
        onward = Onward.spec(inputs=[sales])
        users = PerUser.spec(inputs=[onward])

    driver = Driver(Mixed)
    for _ in range(3):
        driver.send({"user": "ann", "amount": 2, "at": "2020-01-01T00:00:01"})
    driver.advance("3s")
    (row,) = driver.results("users")
    assert {"sales": 3, "amount": "6"} == dict(row.values)


def test_a_plain_tuple_that_is_no_record_is_kept_as_a_dead_letter() -> None:
    """
    It goes to `<component>.dead` with the reason, and its tuple is acked; the others are counted.
    """

    class Mixed(Topology):
        sales = SaleSpout.spec()
        large = Large.spec(inputs=[sales])

    driver = Driver(Mixed)
    SAYS[:] = [sale("ann", "no number", "00:01"), sale("ann", "20", "00:59")]
    driver.advance("2s")
    assert [("ack", 0), ("ack", 1)] == sorted(ENDED)
    (letter,) = [DeadLetter.of(each) for partition in driver.log.topics["large.dead"] for each in partition]
    assert "large" in letter.reason
    assert "sales/default" in letter.reason


def test_wirings_that_cannot_be_kept_are_refused() -> None:
    """
    No schema, or several tasks of a keyed bolt straight behind a stock component: each is told with what to do.
    """

    class Bare(FilterBolt):
        def keep(self, record: Any) -> bool:
            return True

    with pytest.raises(SettingsError, match="needs the setting schema"):
        Bare.spec(inputs=[SaleSpout.spec()])
    with pytest.raises(SettingsError, match="put a FilterBolt with the same schema in between"):
        PerUser.spec(inputs=[SaleSpout.spec()], par=2)
