"""Whatever happens each record counts once: crashes, lost flushes and replies, dead tasks, time-outs, diamonds."""

from collections.abc import Callable

import pytest
from driver_parts import PerTen, Reading, counts, driver, reading

from stormline import FilterBolt, KafkaSpout, Topology
from stormline.testing import Driver


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
