"""A dead letter tells how many times its record had been emitted, whoever could not take it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from stormline import Count, FilterBolt, KafkaSink, KafkaSpout, Message, Record, Topology, WindowBolt, tumbling
from stormline.testing import Driver


class Line(Record):
    n: int


class Lines(KafkaSpout):
    topic = "lines"
    schema = Line


class Whole(FilterBolt):
    def keep(self, line: Line) -> bool:
        return 100 // line.n > 0


class Passes(FilterBolt):
    """Stands between the spout and a component that cannot take 0."""

    def keep(self, line: Line) -> bool:
        return True


class PerShare(WindowBolt):
    key = staticmethod(lambda line: 100 // line.n)
    window = tumbling("1h")
    aggregate: ClassVar[dict[str, Any]] = {"lines": Count()}


def by_condition(line: Line) -> bool:
    return 100 // line.n > 0


class Large(WindowBolt):
    key = "n"
    window = tumbling("1h")
    aggregate: ClassVar[dict[str, Any]] = {"large": Count(where=by_condition)}


class Counted(WindowBolt):
    key = "n"
    window = tumbling("1h")
    aggregate: ClassVar[dict[str, Any]] = {"lines": Count()}


class Shares(KafkaSink):
    topic = "shares"

    def message(self, line: Line) -> Message:
        return Message(100 // line.n)


def parts_of(*bolts: Any, chain: bool = False) -> dict[str, Any]:
    parts: dict[str, Any] = {"lines": Lines.spec()}
    above = parts["lines"]
    for bolt in bolts:
        above = bolt.spec(inputs=[above], **({"chain": True} if chain else {}))
        parts[bolt.__name__.lower()] = above
    return parts


def of(*bolts: type) -> Any:
    return type(Topology)("Tried", (Topology,), parts_of(*bolts))


def beside_a_stuck_one(*bolts: type, chain: bool = False) -> Any:
    """With a keyed bolt of the last filter's: while the store is down its tuples time out, and all is emitted again."""
    parts = parts_of(*bolts, chain=chain)
    parts["stuck"] = Counted.spec(inputs=[parts["passes" if Passes in bolts else "whole"]], name="stuck")
    return type(Topology)("Stuck", (Topology,), parts)


@pytest.mark.parametrize(
    ("bolts", "chain", "whose"),
    [
        ((Whole,), False, "whole"),
        ((Whole,), True, "whole"),
        ((Passes, Whole), False, "whole"),
        ((Passes, Whole), True, "whole"),
        ((Passes, Large), False, "large"),
        ((Passes, Shares), False, "shares"),
    ],
)
def test_a_dead_letter_tells_how_often_its_record_was_emitted(bolts: tuple[type, ...], chain: bool, whose: str) -> None:
    """
    Of a batch that failed further down all is emitted again, and what breaks breaks again.
    """
    tried = Driver(beside_a_stuck_one(*bolts, chain=chain))
    tried.store.down = True
    for n in (5, 0):
        tried.send({"n": n}, run=False)
    tried.run()
    while tried.failed < 2:
        tried.advance("1s")
    tried.store.down = False
    tried.advance("1m")
    letters = tried.dead_letters("lines")
    assert {(whose, "lines/0/1")} == {(letter.component, letter.origin) for letter in letters}
    assert list(range(1, tried.failed + 2)) == [letter.attempts for letter in letters]
    assert {"lines/0": 2} == tried.committed


@pytest.mark.parametrize(
    ("bolts", "whose"),
    [
        ((Whole,), "whole"),
        ((Passes, PerShare), "passes"),  # the key is found where the record is sent on
        ((Passes, Large), "large"),
        ((Passes, Shares), "shares"),
    ],
)
def test_what_breaks_again_while_its_letter_is_not_written_waits_for_the_same_letter(
    bolts: tuple[type, ...], whose: str
) -> None:
    """
    Else there would be one more with each time-out, for as long as Kafka takes none.
    """
    tried = Driver(of(*bolts), bounded=False)
    tried.log.max_bytes = 1
    for _ in range(3):
        tried.send({"n": 0}, run=False)
    tried.run()
    tried.advance("5m")
    assert tried.failed >= 4
    tried.log.max_bytes = 1_000_000
    tried.advance("2m")
    letters = tried.dead_letters("lines")
    first = [(whose, f"lines/0/{n}", 1) for n in range(3)]
    assert first == [(letter.component, letter.origin, letter.attempts) for letter in letters[:3]]
    assert len(letters) <= 6  # the records that failed just before come once more
    assert {"lines/0": 3} == tried.committed
