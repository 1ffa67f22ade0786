"""Keys, windows, aggregates, durations, splits."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline.core.aggregate import Aggregation, Count, Max, Mean, Min, Sum
from stormline.core.batch import Rows
from stormline.core.calendar import calendar
from stormline.core.duration import duration_ms
from stormline.core.slot import SLOTS, key_column, key_text, key_value, owned_slots, owner_index, slot_of
from stormline.core.split import Split, keep
from stormline.core.window import tumbling
from stormline.engine.groupings import fields_hash


class Sale(msgspec.Struct, frozen=True):
    amount: Decimal
    count: int = 1


ALL = {"n": Count(), "sum": Sum("amount"), "least": Min("amount"), "most": Max("amount"), "mean": Mean("amount")}
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12)


def fold(aggregation: Aggregation, amounts: list[Decimal]) -> Any:
    state = None
    for amount in amounts:
        state = aggregation.add(state, Sale(amount))
    return state


@given(st.lists(decimals, min_size=1))
def test_aggregates_of_decimals_are_exact(amounts: list[Decimal]) -> None:
    """
    Count, sum, least, most and mean equal those of whole cents.
    """
    aggregation = Aggregation(ALL, Sale)
    result = aggregation.result(fold(aggregation, amounts))
    cents = [int(amount * 100) for amount in amounts]

    assert (len(cents), sum(cents)) == (result.n, int(result.sum * 100))
    assert (min(amounts), max(amounts)) == (result.least, result.most)
    assert Decimal(sum(cents)).scaleb(-2) / len(cents) == result.mean


@settings(deadline=None)
@given(st.lists(decimals, min_size=1), st.lists(decimals, min_size=1))
def test_a_state_that_was_written_and_read_goes_on(first: list[Decimal], more: list[Decimal]) -> None:
    """
    Write after some records, read back, go on: as if nothing had been in between.
    """
    for names in (list(ALL), ["n", "sum", "least", "most"], ["mean"], ["mean", "n", "most"]):
        aggregation = Aggregation({name: ALL[name] for name in names}, Sale)
        state = fold(aggregation, first)
        raw = aggregation.write_states({"k": state})["k"] if aggregation.needs_state else None
        back = aggregation.read(aggregation.write_results({"k": state})["k"], raw)
        for amount in more:
            back = aggregation.add(back, Sale(amount))

        assert fold(aggregation, first + more) == back


def test_a_mean_beside_its_count_and_sum_costs_no_state() -> None:
    """
    What the results tell is not written twice; without them the state is.
    """
    assert not Aggregation(ALL, Sale).needs_state
    assert Aggregation({"mean": Mean("amount"), "n": Count()}, Sale).needs_state
    assert Aggregation({"mean": Mean("amount"), "n": Count(), "sum": Sum("count")}, Sale).needs_state


@pytest.mark.parametrize("aggregate", list(ALL.values()), ids=list(ALL))
@given(left=st.lists(decimals), right=st.lists(decimals))
def test_merging_two_folds_is_folding_both(aggregate: Any, left: list[Decimal], right: list[Decimal]) -> None:
    """
    merge(fold(a), fold(b)) == fold(a + b)
    """

    def folded(values: list[Decimal]) -> Any:
        state = aggregate.create()
        for value in values:
            state = aggregate.add(state, value)
        return state

    assert folded(left + right) == aggregate.merge(folded(left), folded(right))


def test_sums_do_not_round() -> None:
    """
    Thirty digits and more stay exact, where Decimal's own context would round.
    """
    aggregation = Aggregation({"sum": Sum("amount")}, Sale)

    total = aggregation.result(fold(aggregation, [Decimal(10**40), Decimal("0.01")])).sum
    assert str(10**40) + ".01" == str(total)


def test_four_keys_that_look_alike_are_four() -> None:
    """
    1, 1.0, "1" and true have texts of their own, and come back as they were.
    """
    keys = [1, 1.0, "1", True]
    texts = [key_text(key) for key in keys]

    assert ["1", "1.0", '"1"', "true"] == texts
    assert [(type(key), key) for key in keys] == [(type(key_value(t)), key_value(t)) for t in texts]
    with pytest.raises(ValueError, match="key is None"):
        key_column(lambda record: None)([object()])


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 64])
def test_slots_are_owned_as_storm_groups_them(tasks: int) -> None:
    """
    The owner of a slot is where Storm's fields grouping sends it, and each slot has one.
    """
    assert [fields_hash([slot]) % tasks for slot in range(SLOTS)] == [owner_index(s, tasks) for s in range(SLOTS)]
    assert list(range(SLOTS)) == sorted(slot for index in range(tasks) for slot in owned_slots(index, tasks))


def instant(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("unit", "zone", "at", "start", "end"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29", "2026-03-30"),
        ("day", "Europe/Berlin", "2026-10-25T02:30", "2026-10-25", "2026-10-26"),
        ("week", "UTC", "2026-11-22T23:59", "2026-11-16", "2026-11-23"),
        ("month", "UTC", "1997-12-31T23:59", "1997-12-01", "1998-01-01"),
        ("month", "Asia/Shanghai", "1997-02-28T23:59", "1997-02-01", "1997-03-01"),
        ("quarter", "UTC", "2026-05-15T00:00", "2026-04-01", "2026-07-01"),
        ("year", "UTC", "1969-07-20T00:00", "1969-01-01", "1970-01-01"),
    ],
)
def test_calendar_windows_follow_the_calendar(unit: str, zone: str, at: str, start: str, end: str) -> None:
    """
    Also over both clock changes of a year, and before 1970.
    """
    assert (instant(start, zone), instant(end, zone)) == calendar(unit, tz=zone).span(instant(at, zone))


@given(st.integers(-(10**12), 4 * 10**12), st.sampled_from(["day", "week", "month", "quarter", "year"]))
def test_a_window_holds_its_time_and_ends_where_the_next_begins(time_ms: int, unit: str) -> None:
    """
    [start, end): no gap, no overlap.
    """
    for window in (calendar(unit), tumbling("7s")):
        span = window.span(time_ms)
        assert span.start_ms <= time_ms < span.end_ms
        assert span == window.span(span.start_ms)
        assert span.end_ms == window.span(span.end_ms).start_ms


@pytest.mark.parametrize(
    ("value", "ms"), [("5s", 5000), ("100ms", 100), ("1h", 3_600_000), (timedelta(days=1), 86_400_000)]
)
def test_durations_are_read(value: Any, ms: int) -> None:
    """
    Text with a unit, or a timedelta.
    """
    assert ms == duration_ms(value)


@pytest.mark.parametrize("value", ["5", "s", "-1s", "1 year", "", 5, timedelta(seconds=-1)])
def test_what_is_no_duration_is_refused(value: Any) -> None:
    """
    A number without a unit could be anything.
    """
    with pytest.raises(ValueError, match="duration"):
        duration_ms(value)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=40), st.integers(1, 5))
def test_a_split_loses_nothing_and_keeps_origins_together(rows: list[tuple[int, int]], tasks: int) -> None:
    """
    Each row goes to the task that owns its key's slot; outputs of one record for one slot stay in one tuple, in order.
    """
    rows.sort()
    split = Split("by_k", key_column(None), tasks)
    columns = Rows([o for o, _ in rows], [0] * len(rows), [(o, k) for o, k in rows])
    batches = split.batches("lane", "p", columns, [key_text(k) for _, k in rows])

    assert sorted(rows) == sorted(value for batch in batches for value in batch.records.values)
    owners = [owner_index(batch.slot, tasks) for batch in batches]
    assert len(set(owners)) == len(owners)
    for batch, owner in zip(batches, owners, strict=True):
        assert {owner} == {owner_index(slot_of(key), tasks) for key in batch.records.keys or []}


def test_a_record_whose_key_raises_is_broken_for_every_stream() -> None:
    """
    All of an origin or none, whichever of the functions raised.
    """
    splits = [Split("a", key_column(lambda value: "k"), 1), Split("b", key_column(lambda value: 1 // value), 1)]
    kept = keep(Rows([0, 1], [0, 0], [0, 1]), None, splits)

    assert ([1], [['"k"'], ["1"]]) == (kept.rows.values, kept.keys)
    assert [(0, ZeroDivisionError)] == [(broken.offset, type(broken.error)) for broken in kept.broken]
