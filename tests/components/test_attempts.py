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


class Shares(KafkaSink):
    topic = "shares"

    def message(self, line: Line) -> Message:
        return Message(100 // line.n)


def of(*bolts: type, chain: bool = False) -> Any:
    lines: Any = Lines.spec()
    parts: dict[str, Any] = {"lines": lines}
    above = lines
    for bolt in bolts:
        parts[bolt.__name__.lower()] = above = bolt.spec(inputs=[above], **({"chain": True} if chain else {}))  # type: ignore[attr-defined]
    return type(Topology)("Shared", (Topology,), parts)


@pytest.mark.parametrize(
    ("bolts", "whose"),
    [
        ((Whole,), "whole"),
        ((Passes, Whole), "whole"),
        ((Passes, PerShare), "passes"),  # the key is found where the record is sent on
        ((Passes, Large), "large"),
        ((Passes, Shares), "shares"),
    ],
)
def test_a_bolts_dead_letter_tells_how_often_its_record_was_emitted(bolts: tuple[type, ...], whose: str) -> None:
    """
    Once where it broke at the first time; more often where its tuple timed out before.
    """
    tried = Driver(of(*bolts), bounded=False)
    tried.send({"n": 0})
    tried.advance("3s")
    (first,) = tried.dead_letters("lines")
    assert (whose, "lines/0/0", 1) == (first.component, first.origin, first.attempts)

    tried.log.max_bytes = 1  # its dead letter is not written
    tried.send({"n": 0})
    tried.advance("2m")
    tried.log.max_bytes = 1_000_000
    tried.advance("2m")
    _, *later = tried.dead_letters("lines")
    assert tried.failed >= 2
    assert {(whose, "lines/0/1")} == {(letter.component, letter.origin) for letter in later}
    assert set(range(1, tried.failed + 2)) == {letter.attempts for letter in later}


def test_the_spouts_dead_letters_tell_it_of_what_is_chained_to_it() -> None:
    """
    Of a batch that failed further down all is emitted again, and what breaks breaks again.
    """
    whole: Any = of(Whole, chain=True)
    whole.large = Large.spec(inputs=[whole.whole], name="large")
    tried = Driver(
        type(Topology)("Both", (Topology,), {name: vars(whole)[name] for name in ("lines", "whole", "large")})
    )
    tried.store.down = True
    for n in (5, 0):
        tried.send({"n": n}, run=False)
    tried.run()
    while tried.failed < 2:
        tried.advance("1s")
    tried.store.down = False
    tried.advance("1m")
    letters = tried.dead_letters("lines")
    assert {("whole", "lines/0/1")} == {(letter.component, letter.origin) for letter in letters}
    assert list(range(1, tried.failed + 2)) == [letter.attempts for letter in letters]
    assert {"lines/0": 2} == tried.committed
