"""Included offsets: the ranges say what a set of offsets would say, and no range reaches over a record that broke."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stormline.core.aggregate import Aggregation, Count
from stormline.core.batch import Batch, Rows
from stormline.core.included import Included
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.pending import Limits
from stormline.core.progress import ProgressView
from stormline.core.record import Record
from stormline.core.requests import Loaded
from stormline.core.slot import SLOTS, key_column
from stormline.core.source import Source
from stormline.core.split import Split, keep
from stormline.core.table import Rules
from stormline.core.window import tumbling

RANGE = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(ranges=st.lists(RANGE, max_size=12), floor=st.integers(0, 40), asked=RANGE, others=st.lists(RANGE, max_size=4))
def test_ranges_say_what_a_set_of_offsets_would_say(ranges, floor, asked, others):
    """Whatever is added, in any order, overlapping or not; above the floor; and together with another's."""
    included, other, model = Included(), Included(), set()
    for first, last in ranges:
        included.add("lane", "p", first, last)
        model |= set(range(first, last + 1))
    for first, last in others:
        other.add("lane", "p", first, last)
    for offset in range(45):
        assert included.has("lane", "p", offset) == (offset in model)
    assert included.touches("lane", "p", *asked) == any(o in model for o in range(asked[0], asked[1] + 1))
    assert not included.has("lane", "q", 3)
    assert not included.touches("another", "p", 0, 40)
    included.prune({"p": floor})
    model = {offset for offset in model if offset >= floor}
    assert bool(included) == bool(model)
    assert _offsets(included.ranges()) == model
    expected = model.union(*(range(first, last + 1) for first, last in others))
    assert _offsets(included.with_those_of(other)) == expected
    assert _offsets(Included(included.ranges()).ranges()) == model
    bounds = included.ranges().get("lane", {}).get("p", [])
    assert bounds == sorted(set(bounds))  # as few as can be: no two that touch


def _offsets(ranges: Any) -> set[int]:
    bounds = ranges.get("lane", {}).get("p", [])
    return {o for first, end in zip(bounds[::2], bounds[1::2], strict=True) for o in range(first, end)}


class Sale(Record):
    at: int
    key: str


def rows_of(count: int) -> Rows:
    return Rows(list(range(count)), [5] * count, [Sale(5, f"k{n % 3}") for n in range(count)])


def test_a_record_on_which_a_predicate_raised_counts_when_it_comes_again():
    """Its neighbours are counted and flushed; after a crash and a repair it is no replay, and they are."""
    state = KeyedState(Rules("w", (tumbling("1s"),), Aggregation({"n": Count()}, Sale)), "me", ProgressView({"s": 1}))
    for slot in range(SLOTS):
        state.load(Loaded(slot, 0, {}, {}, None, 0, []))
    split = Split("by_w", key_column("key"), 1)
    rows = rows_of(9)
    broken = rows.values[4]

    def raising(sale: Sale) -> bool:
        if sale is broken:
            raise ValueError("not yet")
        return True

    for predicate in (raising, lambda sale: True):
        kept = keep(rows, predicate, [split])
        for piece, (keys,) in kept.pieces():
            for batch in split.batches("s.by_w", "p", piece, keys):
                state.apply(batch, Held("tuple"))
    assert state.skipped == 8
    assert _counted(state) == 9


def _counted(state: KeyedState) -> int:
    results = [result for flush in state.flush() for window in flush.windows for result in window.results.values()]
    return sum(msgspec.json.decode(result)["n"] for result in results)


def test_a_spout_emits_no_batch_that_reaches_over_an_undecodable_record():
    """A bolt takes the range of a tuple for counted; once a repaired decoder reads the record, it must count."""
    source = Source("s", 1, "me", Limits())
    source.assign("p", 0, 0, 0)
    rows = rows_of(9)
    left = rows.at([0, 1, 2, 4, 5, 8])
    source.take("p", left, [3, 6, 7], 9, 9, 0)
    emitted = []
    while (emission := source.next(0)) is not None:
        emitted.append(emission.records.offsets)
    assert emitted == [[0, 1, 2], [4, 5], [8]]


def test_in_a_tuple_with_a_broken_record_each_of_the_others_is_included_by_itself():
    """A user's aggregate that raises breaks its record alone: when the tuple comes again only that one is tried."""

    class Fussy(Count):
        raises = True

        def add(self, accumulator: int, value: Any) -> int:
            if self.raises and value.key == "k1":
                raise ValueError("k1")
            return accumulator + 1

    fussy = Fussy()
    state = KeyedState(Rules("w", (tumbling("1s"),), Aggregation({"n": fussy}, Sale)), "me", ProgressView({"s": 1}))
    for slot in range(SLOTS):
        state.load(Loaded(slot, 0, {}, {}, None, 0, []))
    keys = key_column("key")
    rows = rows_of(9)
    batch = Batch(0, "s.by_w", "p", rows._replace(keys=keys(rows.values)))
    assert [each.offset for each in state.apply(batch, Held("tuple"))] == [1, 4, 7]
    Fussy.raises = False
    assert state.apply(batch, Held("again")) == []
    assert state.skipped == 6
    assert _counted(state) == 9
