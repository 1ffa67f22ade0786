"""A record that breaks is in the dead letters of the driver with its reason, and in no count."""

from typing import Any

import pytest
from driver_parts import Good, counts, driver, reading

from bolts.monthly_purchases import MonthlyPurchases
from spouts.purchases import Purchase
from stormline import Count, WindowBolt, tumbling
from stormline.testing import Driver


class Picky(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count()}

    def trigger(self, result: Any) -> bool:
        return bool(result.readings > 100 // (2 - result.readings))


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
    for part in ("Good.keep", "driver_parts.py:", "DivisionByZero", "Reading("):
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
