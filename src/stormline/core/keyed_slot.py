"""What a keyed task holds for one slot, and what one record does to it (K2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from stormline.core.included import Included
from stormline.core.outbox import Outbox, Output
from stormline.core.requests import Loaded, WindowChange
from stormline.core.slot import key_value
from stormline.core.table import LATE, Row, Rules, Table, Undo
from stormline.core.tables import table_of


class Held:
    """A tuple that waits: for the flushes of its slots, and for its broken records to be safe elsewhere."""

    def __init__(self, tup: Any) -> None:
        self.tup = tup
        self.waits = 0

    def release(self) -> bool:
        """One thing less to wait for; True if that was the last and the tuple is to be acked."""
        self.waits -= 1
        return self.waits == 0


@dataclass(slots=True)
class Flight:
    """A flush on its way: what goes out again if it does not arrive."""

    held: list[Held]
    changes: list[WindowChange]
    late: set[int]
    counted: int
    outputs: dict[int, Output]
    delivered: list[int]


@dataclass(slots=True)
class KeyedSlot:
    sequence: int
    included: Included
    watermark_ms: int | None
    late: int
    outbox: Outbox
    tables: list[Table]
    late_records: dict[int, bytes] = field(default_factory=dict)
    counted: int = 0
    """Records counted since the last flush was begun."""
    dirty: bool = False
    held: list[Held] = field(default_factory=list)
    unconfirmed: list[WindowChange] = field(default_factory=list)
    """Changes of flushes of which nobody knows whether they arrived."""
    flight: Flight | None = None

    @classmethod
    def loaded(cls, loaded: Loaded, rules: Rules) -> KeyedSlot:
        """As the store has it."""
        tables = {windower.name: table_of(rules, windower, loaded.watermark_ms) for windower in rules.windowers}
        for window in loaded.windows:
            tables[window.name.partition("#")[0]].load(window)
        outbox = Outbox(loaded.next_output, loaded.outputs)
        return cls(
            loaded.sequence, Included(loaded.included), loaded.watermark_ms, loaded.late, outbox, list(tables.values())
        )

    def count_together(self, rules: Rules, partition: str, outputs: Sequence[Row]) -> int:
        """All outputs of one origin for one slot, or none if user code raises; how many were not late."""
        if len(outputs) == 1 and len(self.tables) == 1:
            return self.count(rules, partition, outputs[0], None)
        undo: Undo = []
        try:
            return sum(self.count(rules, partition, one, undo) for one in outputs)
        except Exception:
            for step in reversed(undo):
                step()
            raise

    def count(self, rules: Rules, partition: str, row: Row, undo: Undo | None) -> bool:
        """False: it was late, for every window. If user code raises, nothing has changed, or `undo` can tell it: there
        must be one where there is more than one table."""
        if undo is None:
            (table,) = self.tables
            in_time = table.add(partition, row, self.outbox, self.watermark_ms, None)
            if not in_time:
                self._keep_late(rules, rules.windowers[0].name, partition, row)
            return in_time
        counted = False
        for windower, table in zip(rules.windowers, self.tables, strict=True):
            number = self.outbox.next_number
            if table.add(partition, row, self.outbox, self.watermark_ms, undo):
                counted = True
            else:
                self._keep_late(rules, windower.name, partition, row)
                undo.append(partial(self._forget_late, number))
        return counted

    def _keep_late(self, rules: Rules, window: str, partition: str, row: Row) -> None:
        offset, time_ms, value, key = row
        record = {
            "number": self.late,
            "key": key_value(key),
            "window": window,
            "time_ms": time_ms,
            "partition": partition,
            "offset": offset,
            "record": value,
        }
        self.late_records[self.late] = msgspec.json.encode(record)
        self.late += 1
        if LATE in rules.streams:
            self.outbox.put(LATE, [window, record["key"], time_ms, partition, offset, value])

    def _forget_late(self, next_output: int) -> None:
        self.outbox.take_back(next_output)
        self.late -= 1
        del self.late_records[self.late]
