"""What a sink cannot write: the record goes to the dead letters, cut to what fits, and the others are written."""

from __future__ import annotations

from typing import Any

import pytest
from sink_parts import Choosing, Copying, Trade, trade

from stormline import KafkaSink, Message
from stormline.testing import Driver


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


@pytest.mark.parametrize("returned", ["text", Message("v", key=5), Message("v", headers={"h": 1})])  # type: ignore[arg-type, dict-item]
def test_what_is_no_message_breaks_its_record(returned: Any) -> None:
    """A return value, key or header of another type is told with what it is."""
    tried = Driver(type("Mine", (KafkaSink,), {"topic": "t", "message": lambda self, _: returned}), schema=Trade)
    tried.send(trade())
    (letter,) = tried.dead_letters()
    assert "TypeError" in letter.reason
    assert tried.acked == 1
