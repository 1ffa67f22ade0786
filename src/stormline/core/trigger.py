"""When the result of a window that is still open is sent on the stream `updates`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from stormline.core.duration import duration_ms


class When(NamedTuple):
    """Once a key and window: when a condition on the result first holds. Only then is the result shown at all."""

    holds: Callable[[Any], object]


class Every(NamedTuple):
    """Each so many records of a key, or each time so much event time or wall time has passed. Make it with `every`."""

    records: int = 0
    event_ms: int = 0
    wall_ms: int = 0


Trigger = When | Every


def every(period: str | timedelta | None = None, *, records: int | None = None, time: str = "event") -> Every:
    """A trigger: `every("5m")` of event time, `every("10s", time="processing")`, or `every(records=100)` of a key.

    Raises:
        ValueError: not just one of period and records is given, one is not positive, or the time is of no such kind.
    """
    if (period is None) == (records is None):
        raise ValueError('say how often: every("5m") or every(records=100)')
    if time not in ("event", "processing"):
        raise ValueError(f"{time!r} is no kind of time; say event or processing")
    if records is not None:
        if not isinstance(records, int) or isinstance(records, bool) or records < 1:
            raise ValueError(f"every {records!r} records: give a whole number above 0")
        return Every(records=records)
    period_ms = duration_ms(period)  # type: ignore[arg-type]
    if period_ms == 0:
        raise ValueError("a period cannot be 0")
    return Every(event_ms=period_ms) if time == "event" else Every(wall_ms=period_ms)
