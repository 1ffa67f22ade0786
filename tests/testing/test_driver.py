"""What the driver promises, tried on the whole topology and on bolts made for it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bolts.monthly_purchases import MonthlyPurchases
from spouts.purchases import Purchase
from stormline import Count, FilterBolt, KafkaSpout, Record, Sum, Topology, WindowBolt, tumbling
from stormline.testing import Driver


class Reading(Record):
    at: int
    value: Decimal
    sensor: str = "a"


class Good(FilterBolt):
    def keep(self, record: Reading) -> bool:
        return 1 / record.value > 0


class PerTen(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count(), "total": Sum("value")}


class Patient(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count()}
    allowed_lateness = "10ms"


class Picky(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count()}

    def trigger(self, result: Any) -> bool:
        return bool(result.readings > 100 // (2 - result.readings))


def driver(bolt: type = PerTen, **settings: Any) -> Driver:
    return Driver(bolt, schema=Reading, event_time="at", **settings)


def reading(at: int, value: int = 1, sensor: str = "a") -> dict[str, Any]:
    return {"at": at, "value": value, "sensor": sensor}


def counts(tried: Driver) -> dict[int, tuple[str, int, int]]:
    return {row.start_ms: (row.state, row.revision, row.values["readings"]) for row in tried.results()}


def _crash_before_the_flush(tried: Driver) -> None:
    tried.crash()


def _crash_between_flush_and_ack(tried: Driver) -> None:
    while not tried.results():
        tried.clock.advance("5ms")
        tried.run(steps=1)
    tried.crash()


def _lose_a_flush(tried: Driver) -> None:
    tried.lose_next_flush()


def _lose_a_reply(tried: Driver) -> None:
    tried.lose_next_reply()


def _restart_redis(tried: Driver) -> None:
    tried.restart_redis()


def _time_out(tried: Driver) -> None:
    tried.lose_next_flush()
    tried.advance("100ms")
    tried.clock.advance("70s")


@pytest.mark.parametrize(
    "fault",
    [_crash_before_the_flush, _crash_between_flush_and_ack, _lose_a_flush, _lose_a_reply, _restart_redis, _time_out],
)
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_whatever_happens_each_record_counts_once(fault: Callable[[Driver], None], seed: int | None) -> None:
    """
    A crash, a lost flush, a lost reply, a restart of Redis or a time-out changes no count.
    """
    tried = driver(seed=seed, partitions=2)
    for at in range(8):
        tried.send(reading(at), partition=at % 2)
    fault(tried)
    for at in range(8, 25):
        tried.send(reading(at), partition=at % 2)
    tried.end()

    assert {0: ("final", 0, 10), 10: ("final", 0, 10), 20: ("final", 0, 5)} == counts(tried)
    assert {"input/0": 13, "input/1": 12} == tried.committed


def test_nothing_is_committed_before_it_is_flushed() -> None:
    """
    The committed offset follows the flush, not the reading.
    """
    tried = driver()
    tried.send(reading(1))
    assert {"input/0": 0} == tried.committed

    tried.advance("3s")
    assert {"input/0": 1} == tried.committed


def test_a_late_record_changes_no_total_and_is_kept() -> None:
    """
    A record behind the watermark is in no result, but counted and kept with its origin.
    """
    #  0         10        20
    #  [---w0----)[---w1---)
    #       ^ late    ^ watermark
    tried = driver()
    tried.send(reading(1))
    tried.send(reading(15))
    tried.advance("1s")
    tried.send(reading(5, value=7))
    tried.end()

    assert {0: ("final", 0, 1), 10: ("final", 0, 1)} == counts(tried)
    assert [("a", 5, 2)] == [(late["key"], late["time_ms"], late["offset"]) for late in tried.late()]
    assert 1 == tried.status()["bolt"][0].late


def test_within_the_allowed_lateness_a_final_window_is_revised() -> None:
    """
    A record that comes after its window was final, but not too late, raises the revision.
    """
    tried = driver(Patient)
    tried.send(reading(1))
    tried.send(reading(15))
    tried.advance("1s")
    assert ("final", 0, 1) == counts(tried)[0]

    tried.send(reading(5))
    tried.advance("1s")
    assert ("final", 1, 2) == counts(tried)[0]


def test_no_window_closes_over_a_record_on_its_way() -> None:
    """
    While a record is not flushed, the watermark stays below it, however far others have come.
    """
    tried = driver(partitions=2)
    tried.send(reading(1), partition=0)
    tried.send(reading(1), partition=1)
    tried.advance("1s")
    for _ in range(3):
        tried.lose_next_flush()
    tried.send(reading(2), partition=0)
    tried.send(reading(35), partition=0)
    tried.send(reading(36), partition=1)
    tried.advance("100ms")
    assert "open" == counts(tried)[0][0]

    tried.advance("5s")
    assert ("final", 0, 3) == counts(tried)[0]


def test_a_record_that_breaks_user_code_is_set_aside_alone() -> None:
    """
    It goes to the dead-letter topic with component, place, error and origin; the rest of its batch goes on.
    """
    tried = driver(Good)
    for value in (1, 0, 2):
        tried.send(reading(1, value), run=False)
    tried.run()
    tried.end()

    assert [1, 2] == [record.value for record in tried.out]
    (letter,) = tried.dead_letters()
    assert b"bolt" == letter.headers["component"]
    assert b"input/0/1" == letter.headers["origin"]
    for part in (b"Good.keep", b"test_driver.py:", b"DivisionByZero", b"Reading("):
        assert part in letter.headers["reason"]
    assert b"Traceback" in letter.headers["traceback"]
    assert {"input/0": 3} == tried.committed


def test_a_trigger_that_raises_breaks_the_record_and_counts_nothing_of_it() -> None:
    """
    What raised in a keyed bolt is in the dead-letter topic and in no count.
    """
    tried = driver(Picky)
    for at in range(4):
        tried.send(reading(at))
    tried.end()

    assert 3 == len(tried.dead_letters())
    assert 1 == tried.status()["bolt"][0].records_out
    assert {} == counts(tried)
    assert {"input/0": 4} == tried.committed


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"date": "1997-01-01", "amount": 1.00, "user_id": 4', b"truncated"),
        (b'{"date": "1997-01-01", "user_id": 4, "items": 1}', b"missing required field `amount`"),
        (b'{"date": "1997-01-01", "amount": "ten", "user_id": 4, "items": 1}', b"$.amount"),
        (b'{"date": "9999-01-01", "amount": 1.00, "user_id": 4, "items": 1}', b"in the future"),
        (b"\xff\xfe", b"malformed"),
        (None, b"no value"),
    ],
)
def test_a_value_that_cannot_be_read_is_set_aside_by_the_spout(raw: bytes | None, reason: bytes) -> None:
    """
    Broken JSON, a missing field, an amount that is no number, a time far ahead: counted, kept with the reason, passed.
    """
    tried = Driver(MonthlyPurchases, schema=Purchase, event_time="date")
    tried.send(raw)
    tried.send(b'{"date": "1997-01-01", "amount": 1.00, "user_id": 4, "items": 1}')
    tried.end()

    (letter,) = tried.dead_letters()
    assert raw == letter.value
    assert reason in letter.headers["reason"]
    assert b"input/0/0" == letter.headers["origin"]
    assert 1 == tried.status()["input"][0].broken
    assert [1] == [row.values["purchases"] for row in tried.results()]
    assert {"input/0": 2} == tried.committed


def test_gaps_between_offsets_are_passed() -> None:
    """
    Offsets that do not exist (compaction, markers) hold nothing up.
    """
    tried = driver()
    for offset in (0, 3, 9):
        tried.send(reading(1), offset=offset)
    tried.end()

    assert {"input/0": 10} == tried.committed
    assert {0: ("final", 0, 3)} == counts(tried)


def test_lost_redis_data_halts_the_spout() -> None:
    """
    A Redis that knows less than Kafka has committed is noticed at the start: nothing goes on with holes.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("3s")
    tried.store.commits.clear()
    tried.crash()
    tried.send(reading(2))
    tried.advance("3s")

    assert "Redis has lost data" in str(tried.status()["input"][0].trouble)
    assert {"input/0": 1} == tried.committed


def test_the_same_seed_is_the_same_history() -> None:
    """
    Two drivers with one seed do the same, step by step.
    """

    def history(seed: int) -> list[Any]:
        tried = driver(seed=seed, partitions=3)
        seen = []
        for at in range(30):
            tried.send(reading(at, sensor="ab"[at % 2]), partition=at % 3, run=False)
            seen.append((tried.run(steps=at % 5), len(tried.results())))
            tried.advance("10ms")
        return seen

    assert history(7) == history(7)


class Low(FilterBolt):
    def keep(self, record: Reading) -> bool:
        return record.value < 3


class High(FilterBolt):
    def keep(self, record: Reading) -> bool:
        return record.value > 1


class Readings(KafkaSpout):
    topic = "readings"
    schema = Reading
    event_time = "at"


class Diamond(Topology):
    readings = Readings.spec(par=2)
    low = Low.spec(inputs=[readings], par=2)
    high = High.spec(inputs=[readings])
    both = PerTen.spec(inputs=[low, high], par=3)


@pytest.mark.parametrize("seed", range(6))
def test_a_diamond_counts_each_path_once_on_any_number_of_tasks(seed: int) -> None:
    """
    A record that comes by two paths counts twice, one that comes again by one path does not; crash included.
    """
    tried = Driver(Diamond, partitions=4, seed=seed)
    for n in range(40):
        tried.send(reading(n % 10, value=1 + n % 4, sensor=f"s{n % 5}"), partition=n % 4)
        if n == 20:
            tried.crash()
    tried.end()

    # Of values 1 to 4 in turn, 1 passes low only, 2 both, 3 and 4 high only.
    assert sum(row.values["readings"] for row in tried.results("both")) == 50
    assert {row.key for row in tried.results("both")} == {"s0", "s1", "s2", "s3", "s4"}
    assert {row.state for row in tried.results("both")} == {"final"}
