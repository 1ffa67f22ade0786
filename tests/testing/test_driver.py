"""What the driver promises, tried on the whole topology and on bolts made for it."""

import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bolts.monthly_purchases import MonthlyPurchases
from spouts.purchases import Purchase
from stormline import Count, FilterBolt, KafkaSpout, Record, Sum, Topology, WindowBolt, tumbling
from stormline.core.errors import StormlineError
from stormline.testing import Driver, assert_deterministic


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


def _stop_redis_for_a_while(tried: Driver) -> None:
    tried.stop_redis()
    tried.advance("3s")
    assert 0 == tried.acked
    tried.restart_redis()


def _kill_the_bolt(tried: Driver) -> None:
    tried.kill("bolt")


def _kill_the_spout(tried: Driver) -> None:
    tried.kill("input")


def _time_out(tried: Driver) -> None:
    tried.lose_next_flush()
    tried.advance("100ms")
    tried.clock.advance("70s")


@pytest.mark.parametrize(
    "fault",
    [
        _crash_before_the_flush,
        _crash_between_flush_and_ack,
        _lose_a_flush,
        _lose_a_reply,
        _restart_redis,
        _stop_redis_for_a_while,
        _kill_the_bolt,
        _kill_the_spout,
        _time_out,
    ],
)
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_whatever_happens_each_record_counts_once(fault: Callable[[Driver], None], seed: int | None) -> None:
    """
    A crash, a dead task, a lost flush, a lost reply, a silent or restarted Redis or a time-out changes no count.
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
    assert [("a", 5, 2)] == [(late.key, late.time_ms, late.offset) for late in tried.late()]
    assert ["7"] == [late.record["value"] for late in tried.late()]
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
    assert ("bolt", "input/0/1", 1) == (letter.component, letter.origin, letter.attempts)
    for part in ("Good.keep", "test_driver.py:", "DivisionByZero", "Reading("):
        assert part in letter.reason
    assert "Traceback" in letter.traceback
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
        (b'{"date": "1997-01-01", "amount": 1.00, "user_id": 4', "truncated"),
        (b'{"date": "1997-01-01", "user_id": 4, "items": 1}', "missing required field `amount`"),
        (b'{"date": "1997-01-01", "amount": "ten", "user_id": 4, "items": 1}', "$.amount"),
        (b'{"date": "9999-01-01", "amount": 1.00, "user_id": 4, "items": 1}', "in the future"),
        (b"\xff\xfe", "malformed"),
        (None, "no value"),
    ],
)
def test_a_value_that_cannot_be_read_is_set_aside_by_the_spout(raw: bytes | None, reason: str) -> None:
    """
    Broken JSON, a missing field, an amount that is no number, a time far ahead: counted, kept with the reason, passed.
    """
    tried = Driver(MonthlyPurchases, schema=Purchase, event_time="date")
    tried.send(raw)
    tried.send(b'{"date": "1997-01-01", "amount": 1.00, "user_id": 4, "items": 1}')
    tried.end()

    (letter,) = tried.dead_letters()
    assert raw == letter.value
    assert reason in letter.reason
    assert ("input", "input/0/0") == (letter.component, letter.origin)
    assert 1 == tried.status()["input"][0].broken
    assert [1] == [row.values["purchases"] for row in tried.results()]
    assert {"input/0": 2} == tried.committed


def test_a_dead_letter_is_waited_for() -> None:
    """
    While the broker refuses a dead letter its record is neither acked nor committed; then it is there once.
    """
    tried = driver(Good)
    tried.refuse_next_write("no room")
    tried.send(reading(1, value=0))
    tried.advance("900ms")
    assert [] == tried.dead_letters()
    assert {"input/0": 0} == tried.committed
    assert "no room" in str(tried.status()["bolt"][0].trouble)

    tried.end()
    assert ["input/0/0"] == [letter.origin for letter in tried.dead_letters()]
    assert {"input/0": 1} == tried.committed


def test_what_is_acked_and_what_failed_is_counted() -> None:
    """
    Records are acked once their flush is confirmed, not when they are counted; a dead bolt fails what it held.
    """
    tried = driver()
    tried.send(reading(1), run=False)
    tried.send(reading(2))
    assert (0, 0) == (tried.acked, tried.failed)

    tried.kill("bolt")
    assert (0, 1) == (tried.acked, tried.failed)
    tried.advance("1s")
    assert (2, 1) == (tried.acked, tried.failed)
    assert {0: ("open", 0, 2)} == counts(tried)


def test_time_passes_by_the_millisecond() -> None:
    """
    A flush comes 20 ms after the input has paused, not before.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("19ms")
    assert [] == tried.results()

    tried.advance("1ms")
    assert {0: ("open", 0, 1)} == counts(tried)


def test_one_result_is_found_by_key_and_start() -> None:
    """
    By the key's value and type, and the start as a number or a date.
    """
    tried = driver()
    tried.send(reading(15, value=7))
    tried.end()

    row = tried.result("a", 10)
    assert row is not None
    assert {"readings": 1, "total": "7"} == row.values
    assert None is tried.result("a", 0) is tried.result("b", 10)


def test_a_second_run_goes_on_from_the_first() -> None:
    """
    After the end a crash begins the next run: what was final stays so, and a record of a closed window is late.
    """
    tried = driver()
    tried.send(reading(1))
    tried.end()
    tried.crash()
    tried.send(reading(2))
    tried.send(reading(11))
    tried.end()

    assert {0: ("final", 0, 1), 10: ("final", 0, 1)} == counts(tried)
    assert [2] == [late.time_ms for late in tried.late()]


def test_redis_without_its_data_halts_what_runs() -> None:
    """
    Once the data is gone nothing is counted, acked or committed any more, in this run or in the next.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("2s")
    tried.lose_redis_data()
    tried.send(reading(2))
    tried.advance("5s")
    assert "lost the run marker" in str(tried.status()["bolt"][0].trouble)
    assert ([], 1, {"input/0": 1}) == (tried.results(), tried.acked, tried.committed)

    tried.crash()
    tried.advance("5s")
    assert "Redis has lost data" in str(tried.status()["input"][0].trouble)
    assert ([], 0, {"input/0": 1}) == (tried.results(), tried.acked, tried.committed)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda tried: tried.results("blot"), "name a component with results: bolt, not blot"),
        (lambda tried: tried.kill("blot"), "name a component: input, bolt, out, not blot"),
        (lambda tried: tried.send({}, topic="outlet"), "name a topic: input, not outlet"),
        (lambda tried: tried.messages("outlet"), "name a topic: input, not outlet"),
        (lambda tried: tried.send({}, partition=1), "no partition 1"),
        (lambda tried: (tried.end(), tried.send({})), "the input has ended"),
        (lambda tried: Driver(PerTen, schema=Reading, bounded=False).end(), "bounded=False"),
        (lambda tried: Driver(Good, schema=Reading).results(), "there is none"),
    ],
)
def test_a_mistake_in_a_test_is_told(mistake: Callable[[Driver], object], message: str) -> None:
    """
    Names that do not exist and inputs that have ended are refused, not answered with nothing.
    """
    with pytest.raises(ValueError, match=message):
        mistake(driver())


def test_a_mistake_in_a_component_stops_the_test() -> None:
    """
    What no single record can be blamed for is raised where the test called.
    """
    tried = driver()
    tried.send(reading(1))
    tried.log.committed["input/0"] = 9
    with pytest.raises(StormlineError, match="offset 9 of input/0 is committed, but the topic holds 0 to 1"):
        tried.crash()


class Moody(WindowBolt):
    key = staticmethod(lambda record: random.random())
    window = tumbling("10ms")
    aggregate = {"readings": Count()}


class Forgetful(FilterBolt):
    seen: set[int] = set()  # noqa: RUF012

    def keep(self, record: Reading) -> bool:
        known = record.at in self.seen
        self.seen.add(record.at)
        return not known


def test_user_functions_that_change_their_mind_are_found() -> None:
    """
    A key drawn by chance and a filter that remembers are named; the same functions without whims pass.
    """
    feed = [reading(at) for at in range(5)]
    with pytest.raises(AssertionError, match="Moody are not deterministic: fed the same again, results of bolt"):
        assert_deterministic(Moody, feed, schema=Reading, event_time="at")
    with pytest.raises(AssertionError, match="Forgetful are not deterministic: fed the same again, records sent on"):
        assert_deterministic(Forgetful, feed, schema=Reading, event_time="at")
    assert_deterministic(PerTen, feed, schema=Reading, event_time="at")


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


def test_a_halt_stops_all_tasks_until_it_is_cleared() -> None:
    """
    While the app is halted nothing is counted, whatever is emitted again; once it is cleared all goes on by itself.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("3s")
    tried.store.halted = "by hand"
    tried.kill("bolt")
    tried.send(reading(2))
    tried.advance("60s")
    told = {str(tried.status()[name][0].trouble) for name in ("input", "bolt")}
    assert ({"halted: by hand"}, {"input/0": 1}) == (told, tried.committed)

    tried.store.halted = None
    tried.advance("60s")
    assert ({0: ("open", 0, 2)}, {"input/0": 2}) == (counts(tried), tried.committed)


@pytest.mark.timeout(60)
def test_the_same_seed_is_the_same_history() -> None:
    """
    Two processes with one seed do the same, step by step and fault by fault; another seed does something else.
    """

    def told(seed: int, hashes: str) -> str:
        command = [sys.executable, str(Path(__file__).with_name("history.py")), str(seed)]
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hashes}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout

    first = told(7, "1")
    assert "final" in first
    assert first == told(7, "2")
    assert first != told(8, "1")


def test_crashes_use_up_no_descriptors() -> None:
    """
    A thousand histories in one process: what a crashed engine held open goes with it.
    """
    tried = driver()
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        tried.crash()
    gc.collect()
    assert before == len(os.listdir("/dev/fd"))


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
