"""Parts in any order, records in any order, restarts at any point: one result."""

import math

import msgspec
from core.aggregates import EXACT, OF_FLOATS, SKETCHED, Row, Trade, fold, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline.core.aggregate import Aggregation

ALL = EXACT | SKETCHED
AGGREGATION = Aggregation(ALL, Trade)


EACH = {name: Aggregation({name: aggregate}, Trade) for name, aggregate in ALL.items()}


@settings(deadline=None)
@given(rows(), st.data())
def test_any_parts_merged_in_any_order_are_one_pass(drawn: list[Row], data: st.DataObject) -> None:
    """
    Records dealt out to three parts, each part in an order of its own, merged in any order and grouping.
    """
    parts: list[list[Row]] = [[], [], []]
    for row in data.draw(st.permutations(drawn)):
        parts[data.draw(st.integers(0, 2))].append(row)
    left, middle, right = (fold(AGGREGATION, part) for part in data.draw(st.permutations(parts)))
    merge, whole = AGGREGATION.merge, AGGREGATION.result(fold(AGGREGATION, drawn))

    assert whole == AGGREGATION.result(merge(merge(left, middle), right))
    assert whole == AGGREGATION.result(merge(left, merge(middle, right)))


@settings(deadline=None)
@given(rows(), rows())
def test_neither_add_nor_merge_changes_what_it_is_given(first: list[Row], more: list[Row]) -> None:
    """
    A record that breaks half-way has changed nothing, and a pane may be merged many times.
    """
    left, right = fold(AGGREGATION, first), fold(AGGREGATION, more)
    before = msgspec.msgpack.encode([left, right])
    fold(AGGREGATION, more, left)
    AGGREGATION.merge(left, right)

    assert before == msgspec.msgpack.encode([left, right])


@settings(deadline=None)
@given(rows(), rows())
def test_a_state_that_was_written_and_read_is_the_same(first: list[Row], more: list[Row]) -> None:
    """
    After any records, all of a state comes back from JSON, and goes on as if nothing had been in between.
    """
    state = fold(AGGREGATION, first)
    back = AGGREGATION.read(None, AGGREGATION.write_states({"k": state})["k"])

    assert state == back
    assert AGGREGATION.result(fold(AGGREGATION, more, state)) == AGGREGATION.result(fold(AGGREGATION, more, back))


@settings(deadline=None)
@given(rows(), rows())
def test_a_result_that_is_state_lets_the_fold_go_on(drawn: list[Row], more: list[Row]) -> None:
    """
    Where no state is written, the result alone is read back as the accumulator.
    """
    told = [aggregation for aggregation in EACH.values() if not aggregation.needs_state]
    assert {"n", "fees", "most", "bars", "all_many"} <= {name for a in told for name in a.names}
    for aggregation in told:
        state = fold(aggregation, drawn)
        back = aggregation.read(aggregation.write_results({"k": state})["k"], None)

        assert fold(aggregation, more, state) == fold(aggregation, more, back)


@settings(deadline=None)
@given(rows())
def test_an_aggregate_alone_and_among_others_is_the_same(drawn: list[Row]) -> None:
    """
    Shared folds and written-out functions change no result.
    """
    among = AGGREGATION.result(fold(AGGREGATION, drawn))
    alone = {name: getattr(each.result(fold(each, drawn)), name) for name, each in EACH.items()}

    assert {name: getattr(among, name) for name in EACH} == alone


@settings(deadline=None)
@given(rows(), rows())
def test_parts_of_floats_agree_as_far_as_floats_do(first: list[Row], more: list[Row]) -> None:
    """
    Sums, means and variances of floats in parts are those of one pass, but for the last digits.
    """
    aggregation = Aggregation(OF_FLOATS, Trade)
    merged = aggregation.result(aggregation.merge(fold(aggregation, more), fold(aggregation, first)))
    whole = aggregation.result(fold(aggregation, first + more))
    for name in OF_FLOATS:
        one, other = getattr(merged, name), getattr(whole, name)
        assert one == other or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-3), name
