"""Durations in settings: text such as "5s", "1h", "100ms", or a timedelta; in code always ms."""

from __future__ import annotations

import re
from datetime import timedelta

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_TEXT = re.compile(r"(\d+)\s*(ms|s|m|h|d|w)")


def duration_ms(value: str | timedelta) -> int:
    """The duration in ms.

    Raises:
        ValueError: negative, or not a number with one of the units ms, s, m, h, d, w.
    """
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise ValueError(f"a duration cannot be negative: {value}")
        return value // timedelta(milliseconds=1)
    match = _TEXT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} is no duration; write a number and one of ms, s, m, h, d, w, such as "5s" or "1h"')
    return int(match[1]) * _UNIT_MS[match[2]]
