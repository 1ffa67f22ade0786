"""What the driver promises: results and commits as its time passes, and one history for one seed."""

import gc
import os
import subprocess
import sys
from pathlib import Path

from driver_parts import counts, driver, reading

from stormline import Count, WindowBolt, tumbling


class Patient(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count()}
    allowed_lateness = "10ms"


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


def test_the_same_seed_is_the_same_history() -> None:
    """
    Two processes with one seed do the same, step by step and fault by fault; another seed does something else.
    """

    def told(seed: int, hashes: str) -> str:
        command = [sys.executable, str(Path(__file__).with_name("history.py")), str(seed)]
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hashes}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=140).stdout

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
