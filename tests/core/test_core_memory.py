"""What is closed and past its lateness leaves the memory of a task, whatever kind of window it was."""

import gc
from typing import Any

import msgspec
import pytest

from stormline.core.aggregate import Aggregation, Count, Mean
from stormline.core.batch import Batch, Rows
from stormline.core.calendar import calendar
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
    state = KeyedState(rules, "me", ProgressView({"s": 1}))
    for slot in range(SLOTS):
        state.load(Loaded(slot, 0, {}, {}, None, 0, []))
    sizes = []
    first = 0
    for count in (1_000, 10_000):
        passes(state, first, count, step_ms)
        first += count
        gc.collect()
        sizes.append(len(msgspec.json.encode(_held(state))))
    assert sizes[1] <= sizes[0] * 1.2, sizes


def _held(state: KeyedState) -> list[Any]:
    """Everything in the tables that grows with records."""
    held: list[Any] = [len(state._tables)]
    for slot in state._slots.values():
        for table in slot.tables:
            for name, value in vars(table).items():
                if isinstance(value, dict | list | set):
                    held.append((name, repr(value)))
            panes = getattr(table, "_panes", None)
            held.append(repr(vars(panes)) if panes is not None else "")
    return held
