"""The quick ways through the core do what the exact ways do, record by record."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormline.components.decoding import Decoder
from stormline.core import split as split_module
from stormline.core.aggregate import Aggregation, Count, Max, Mean, Min, Sum
from stormline.core.batch import Batch, Rows
from stormline.core.events import Fetched
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.progress import Claim, Progress, ProgressView
from stormline.core.record import Record
from stormline.core.requests import Applied, Loaded, Unknown
from stormline.core.slot import SLOTS, key_column, key_text, slot_of
from stormline.core.split import Split, keep
from stormline.core.table import Rules
from stormline.core.window import tumbling


class Sale(Record):
    at: int
    key: str
    amount: Decimal


class Fussy(Sum):
    """Raises on a seven, after others have added it."""

    def add(self, accumulator: Any, value: Any) -> Any:
        if value == 7:
            raise ValueError("seven")
        return super().add(accumulator, value)


AGGREGATES = {"n": Count(), "mean": Mean("amount"), "min": Min("amount"), "max": Max("amount"), "f": Fussy("amount")}


class Exact(KeyedState):
    """Never takes the quick way."""

    def _fresh(self, batch: Batch, slots) -> bool:
        return False


def states(lateness_ms: int) -> list[KeyedState]:
    made = []
    for kind in (KeyedState, Exact):
        rules = Rules("w", (tumbling("10ms"),), Aggregation(AGGREGATES, Sale), lateness_ms)
        made.append(kind(rules, "me", ProgressView({"s": 1})))
        for slot in range(SLOTS):
            made[-1].load(Loaded(slot, 0, {}, {}, None, 0, []))
    return made


sales = st.builds(Sale, st.integers(0, 40), st.sampled_from("abcd"), st.sampled_from([1, 2, 3, 7]).map(Decimal))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.integers(0, 12), st.lists(sales, min_size=1, max_size=6), st.booleans()),
        st.tuples(st.just("progress"), st.integers(0, 12), st.integers(0, 45)),
        st.tuples(st.just("flush"), st.booleans()),
    ),
    max_size=12,
)


@given(steps, st.sampled_from([0, 10]))
def test_the_quick_way_through_a_keyed_task_is_the_exact_one(history: list[Any], lateness_ms: int) -> None:
    """
    Batches new, repeated, out of order, broken and late, claims, flushes: the same flushes, acks, counters and errors.
    """
    seen: list[list[Any]] = [[], []]
    for state, effects in zip(states(lateness_ms), seen, strict=True):
        sequence = 0
        for number, step in enumerate([*history, ("flush", True)]):
            match step:
                case "batch", first, values, doubled:
                    offsets = [first + i // 2 if doubled else first + i for i in range(len(values))]
                    keys = [key_text(value.key) for value in values]
                    rows = Rows(offsets, [value.at for value in values], values, keys)
                    held = Held(number)
                    broken = state.apply(Batch(0, "lane", "p", rows), held)
                    effects += [held.waits, sorted((b.offset, str(b.error), str(b.value)) for b in broken)]
                case "progress", frontier, mark:
                    sequence += 1
                    claim = Claim("p", 100, frontier, mark, idle=False, ended=False)
                    state.observe(Progress("s", 1, "i", sequence, 1, (claim,)))
                case "flush", arrives:
                    for flush in state.flush():
                        effects.append(msgspec.to_builtins(flush))
                        effects += state.flushed(flush.slot, Applied() if arrives else Unknown("lost"))
        effects += [state.counted, state.late, state.skipped, state.unflushed, state.dirty]

    assert seen[1] == seen[0]


def test_a_clean_new_batch_takes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The exact way is for what may be repeated; else the benchmark would show nothing.
    """
    state, _ = states(0)
    monkeypatch.setattr(KeyedState, "_count_origins", None)
    for first in (0, 3):
        rows = Rows([first, first + 2], [0, 1], [Sale(0, "a", Decimal(1)), Sale(1, "b", Decimal(7))], ['"a"', '"b"'])
        assert [first + 2] == [b.offset for b in state.apply(Batch(0, "lane", "p", rows), Held(first))]

    (change,) = [c for flush in state.flush() if flush.slot == slot_of('"a"') for c in flush.windows]
    assert {'"a"': 2} == {key: msgspec.json.decode(result)["n"] for key, result in change.results.items()}


keys = st.one_of(
    st.text(max_size=3), st.integers(0, 2), st.booleans(), st.floats(0, 2), st.none(), st.tuples(st.text())
)


@given(st.lists(keys), st.integers(1, 3))
def test_a_batch_is_kept_and_keyed_as_each_record_is(values: list[Any], tasks: int) -> None:
    """
    Keys of any types, some that raise: the same rows, texts, broken records and tuples.
    """
    rows = Rows(list(range(len(values))), [0] * len(values), values)
    splits = [Split("s", key_column(lambda key: key), tasks)]

    def predicate(key: Any) -> bool:
        return bool(key != 1)

    kept, exact = keep(rows, predicate, splits), split_module._keep_one_by_one(rows, predicate, splits)
    assert [(b.offset, type(b.error)) for b in exact.broken] == [(b.offset, type(b.error)) for b in kept.broken]
    assert exact[:3] == kept[:3]
    assert [[key_text(value) for value in kept.rows.values]] == kept.keys


good = st.builds(lambda at, amount: b'{"at":%d,"key":"k","amount":%d}' % (at, amount), *[st.integers(0, 99)] * 2)
values = st.lists(
    st.one_of(good, st.none(), st.sampled_from([b"", b"{}", b'{"at":999,"key":"k","amount":1}', b'{"at":1']))
)


@given(values)
def test_a_batch_is_decoded_as_each_record_is(values: list[bytes | None]) -> None:
    """
    Broken values, tombstones and records from the future: the same rows and the same reasons.
    """
    size = len(values)
    fetched = Fetched("p", range(size), [0] * size, [None] * size, values, size, size)
    decoder = Decoder(Sale, "at", 100)
    (rows, bad), (exact_rows, exact_bad) = decoder.rows(fetched, 0), decoder._one_by_one(fetched, 0)

    assert exact_rows == rows
    assert [u.reason for u in exact_bad] == [u.reason for u in bad]
