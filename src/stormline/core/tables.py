"""Which table keeps which kind of window."""

from __future__ import annotations

from typing import Any

from stormline.core.aligned import Aligned
from stormline.core.cells import Cells, Process
from stormline.core.counts import Counts
from stormline.core.sessions import Sessions
from stormline.core.sliding import SlidingWindows
from stormline.core.table import Rules, Table
from stormline.core.window import CountWindow, Session, Sliding


def table_of(rules: Rules, windower: Any, watermark_ms: int | None) -> Table:
    """For a slot whose stored watermark is this."""
    match windower:
        case Sliding():
            return SlidingWindows(rules, windower, watermark_ms)
        case Process():
            return Cells(rules, windower)
        case Session():
            return Sessions(rules, windower)
        case CountWindow():
            return Counts(rules, windower)
        case _:
            return Aligned(rules, windower)
