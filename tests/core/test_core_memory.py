"""What is closed and past its lateness leaves the memory of a task, whatever kind of window it was."""

import gc
from typing import Any

import msgspec
import pytest

from stormline.core.aggregate import Aggregation, Count, Mean
from stormline.core.batch import Batch, Rows
from stormline.core.calendar import calendar
from stormline.core.cells import Forget, Process, Timer
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.progress import Claim, Progress, ProgressView
from stormline.core.record import Record
from stormline.core.requests import Applied, Loaded
from stormline.core.slot import SLOTS
from stormline.core.table import Rules
from stormline.core.window import session, sliding, tumbling

KINDS = [tumbling("1s"), sliding("1s", "250ms"), session("500ms"), calendar("day")]


class Sale(Record):
    at: int
    amount: int


class Seen(msgspec.Struct):
    records: int = 0


def state_of(rules: Rules) -> KeyedState:
    """A task with all slots, empty."""
    state = KeyedState(rules, "me", ProgressView({"s": 1}))
    for slot in range(SLOTS):
        state.load(Loaded(slot, 0, {}, {}, None, 0, []))
    return state


def passes(state: KeyedState, first: int, count: int, step_ms: int) -> None:
    """So many records, all of them closed and flushed."""
    for at in range(first, first + count, 100):
        offsets = list(range(at, at + 100))
        times = [offset * step_ms for offset in offsets]
        rows = Rows(offsets, times, [Sale(time, 1) for time in times], [f'"u{offset % 7}"' for offset in offsets])
        state.apply(Batch(0, "lane", "p", rows), Held(at))
        end = at + 100
        claim = Claim("p", end, end, end * step_ms - step_ms, idle=False, ended=False)
        state.observe(Progress("s", 1, "i", end, 1, (claim,)))
        while flushes := state.flush():
            for flush in flushes:
                state.flushed(flush.slot, Applied())


@pytest.mark.parametrize("windower", KINDS, ids=lambda windower: windower.name)
def test_memory_is_flat_in_the_length_of_the_stream(windower: Any) -> None:
    """
    Ten times as many windows, no more objects.
    """
    step_ms = 6 * 3_600_000 if windower.name.startswith("day") else 100
    rules = Rules("w", (windower,), Aggregation({"n": Count(), "mean": Mean("amount")}, Sale))
    state = state_of(rules)
    sizes = []
    first = 0
    for count in (1_000, 10_000):
        passes(state, first, count, step_ms)
        first += count
        gc.collect()
        sizes.append(len(msgspec.json.encode(_held(state))))
    assert sizes[1] <= sizes[0] * 1.2, sizes


def moving(sale: Sale, seen: Seen) -> Any:
    """A timer that each record moves on, a user who is forgotten and comes again."""
    seen.records += 1
    yield Timer("idle", after="1d")
    if seen.records == 3:
        yield Forget()


CELLS = Process(Seen, moving, lambda *_: None, None, expire_ms=86_400_000)
GROWING = [(CELLS,), (session("1h"), tumbling("1h"))]


@pytest.mark.parametrize("windowers", GROWING, ids=lambda windowers: windowers[-1].name)
def test_what_each_record_moves_on_is_kept_once(windowers: Any) -> None:
    """
    A timer, the age of a key, the end of a session: as much memory for a thousand records as for a hundred.
    """
    aggregation = Aggregation({} if windowers == (CELLS,) else {"n": Count()}, Sale)
    state = state_of(Rules("w", windowers, aggregation))
    sizes = []
    for first in (0, 100, 1000, 2000):
        passes(state, first, 100 if first < 1000 else 1000, 10)
        sizes.append(len(msgspec.json.encode(_held(state))))
    assert max(sizes) <= sizes[0] * 1.2, sizes


def test_a_key_that_was_forgotten_stays_so_if_the_next_record_breaks() -> None:
    """
    One record with two outputs for a key that is gone, but not yet in the store: the first makes it anew, on the second
    user code raises. Neither counts, and the store still loses what it has.
    """

    def process(sale: Sale, seen: Seen) -> Any:
        if sale.amount == 3:
            raise ValueError("three")
        seen.records += 1
        yield from [Forget()] if sale.amount == 2 else []

    process_rules = Process(Seen, process, lambda *_: None, None, expire_ms=None)
    state = state_of(Rules("w", (process_rules,), Aggregation({}, Sale)))

    def come(offsets: list[int], *amounts: int) -> list[tuple[dict[str, str], list[str]]]:
        sales = [Sale(1, amount) for amount in amounts]
        state.apply(Batch(0, "lane", "p", Rows(offsets, [1] * len(sales), sales, ['"a"'] * len(sales))), Held(0))
        flushes = state.flush()
        for flush in flushes:
            state.flushed(flush.slot, Applied())
        return [(c.results, c.removed) for flush in flushes for c in flush.windows]

    assert [({'"a"': '{"records":1}'}, [])] == come([0], 1)
    assert [({}, ['"a"'])] == come([1, 2, 2], 2, 1, 3)


def test_a_session_that_is_over_is_not_gone_on_with() -> None:
    """
    Whether a flush has taken it out yet or not: what comes then is a session of its own, and leaves the memory too.
    """
    state = state_of(Rules("w", (session("10ms"),), Aggregation({"n": Count()}, Sale), allowed_lateness_ms=100))
    place = "lane", "p"

    def come(offset: int, watermark_ms: int) -> list[tuple[str, str, dict[str, str]]]:
        time_ms = (0, 9)[offset] if offset < 2 else 0
        if offset < 2:
            state.apply(Batch(0, *place, Rows([offset], [time_ms], [Sale(time_ms, 1)], ['"ann"'])), Held(offset))
        flushes = state.flush()
        for flush in flushes:
            state.flushed(flush.slot, Applied())
        claim = Claim("p", offset, 0, watermark_ms, idle=False, ended=False)
        state.observe(Progress("s", 1, "i", offset, 1, (claim,)))
        return [(c.id, c.stage, c.results) for flush in flushes for c in flush.windows]

    assert [('0@"ann"', "live", {'"ann"': '{"n":1}'})] == come(0, 110)
    assert [('0@"ann"', "done", {}), ('9@"ann"', "live", {'"ann"': '{"n":1}'})] == come(1, 119)
    assert [('9@"ann"', "done", {})] == come(2, 200)
    assert not any(table._sessions for slot in state._slots.values() for table in slot.tables)  # type: ignore[attr-defined]


def _held(state: KeyedState) -> list[Any]:
    """Everything in the tables that grows with records."""
    held: list[Any] = [len(state._tables)]
    for slot in state._slots.values():
        for table in slot.tables:
            for name, value in vars(table).items():
                if isinstance(value, dict | list | set):
                    held.append((name, repr(value)))
            inner = [
                getattr(table, "_panes", None),
                getattr(table, "_ages", None),
                *getattr(table, "_due", {}).values(),
            ]
            held += [repr(vars(each)) for each in inner if each is not None]
    return held
