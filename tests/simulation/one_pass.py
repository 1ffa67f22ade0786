"""The windows of a key, all of its outputs in hand: nothing here knows how the core does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stormline.core.window import CountWindow, Session, Sliding, Tumbling

Outputs = list[tuple[int, str]]
"""(Time, identity) of each."""


def one_pass(windower: Any, outputs: Outputs) -> Iterable[tuple[Any, ...]]:
    """(Start, end, identities) of each window; of count windows, whose contents depend on arrival, only the sizes."""
    match windower:
        case Tumbling():
            return _sliding(outputs, windower.size_ms, windower.size_ms, windower.offset_ms)
        case Sliding():
            return _sliding(outputs, windower.size_ms, windower.slide_ms, windower.offset_ms)
        case Session():
            return _sessions(outputs, windower.gap_ms)
        case CountWindow():
            full, rest = divmod(len(outputs), windower.size)
            return [(windower.size,)] * full + [(rest,)] * (rest > 0)
    raise NotImplementedError(windower)


def _sliding(outputs: Outputs, size_ms: int, slide_ms: int, offset_ms: int) -> Iterable[tuple[Any, ...]]:
    first = min(time_ms for time_ms, _ in outputs) - size_ms
    last = max(time_ms for time_ms, _ in outputs)
    for start in range(first, last + 1):
        ids = frozenset(identity for time_ms, identity in outputs if start <= time_ms < start + size_ms)
        if (start - offset_ms) % slide_ms == 0 and ids:
            yield start, start + size_ms, ids


def _sessions(outputs: Outputs, gap_ms: int) -> Iterable[tuple[Any, ...]]:
    session: Outputs = []
    for time_ms, identity in sorted(outputs):
        if session and time_ms - session[-1][0] >= gap_ms:
            yield session[0][0], session[-1][0] + gap_ms, frozenset(i for _, i in session)
            session = []
        session.append((time_ms, identity))
    yield session[0][0], session[-1][0] + gap_ms, frozenset(i for _, i in session)
