"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self


class StopSignals:
    """While `orderly` is set the first signal only sets `asked`; any other raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.orderly = False
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.orderly or self.asked:
            raise KeyboardInterrupt
        self.asked = True
