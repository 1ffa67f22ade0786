"""A wall clock in the test's hand."""

from __future__ import annotations

from datetime import timedelta

from stormline.core.duration import duration_ms


class ManualClock:
    """Stands still until it is advanced. Starts in the year 2030, so that no record of a test lies ahead of it."""

    def __init__(self, now_ms: int = 1_893_456_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, duration: str | timedelta) -> None:
        """Let time pass, such as "1s"."""
        self._now_ms += duration_ms(duration)

    def advance_to(self, at_ms: int) -> None:
        """Let time pass until then; no effect if it is past."""
        self._now_ms = max(self._now_ms, at_ms)
