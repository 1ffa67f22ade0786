"""Which window does a record belong to? Windows are [start, end), by event time unless a bolt says otherwise.

Nothing here reads a clock; time is always an argument. What is kept of a window is in the tables (`aligned`, `sliding`,
`sessions`, `counts`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from math import gcd
from typing import NamedTuple, Protocol

from stormline.core.duration import duration_ms

FAR_MS = 253_402_300_800_000
"""The year 10000: where windows without an end end."""


class Span(NamedTuple):
    """A window without its contents: [start, end), ms since the epoch."""

    start_ms: int
    end_ms: int


class Windower(Protocol):
    """A kind of window, with its size."""

    @property
    def name(self) -> str:
        """Part of the key in Redis; says size and kind, so that another window does not read this one's state."""


class Aligning(Windower, Protocol):
    """Windows that are the same for all keys and do not overlap."""

    def span(self, time_ms: int) -> Span:
        """The window that holds this time."""


class Tumbling:
    """Windows of one size, side by side. Make it with `tumbling`."""

    def __init__(self, size_ms: int, offset_ms: int = 0) -> None:
        self.size_ms, self.offset_ms = size_ms, offset_ms % size_ms
        self.name = f"tumbling-{size_ms}ms" + _shifted(self.offset_ms)

    def span(self, time_ms: int) -> Span:
        start_ms = (time_ms - self.offset_ms) // self.size_ms * self.size_ms + self.offset_ms
        return Span(start_ms, start_ms + self.size_ms)


class GlobalWindow:
    """One window for all time, which never closes. Make it with `global_window`."""

    name = "global"

    def span(self, time_ms: int) -> Span:
        return Span(0, FAR_MS)


class Sliding:
    """Windows of one size that begin every `slide_ms`. Make it with `sliding`.

    What is counted is counted in panes, the largest pieces that no window cuts; a window is a row of panes (Li et al.,
    "No pane, no gain", SIGMOD Record 2005). So a record costs the same however many windows it is in.
    """

    def __init__(self, size_ms: int, slide_ms: int, offset_ms: int = 0) -> None:
        self.size_ms, self.slide_ms, self.offset_ms = size_ms, slide_ms, offset_ms % slide_ms
        self.pane_ms = gcd(size_ms, slide_ms)
        self.name = f"sliding-{size_ms}ms-{slide_ms}ms" + _shifted(self.offset_ms)

    def span(self, time_ms: int) -> Span:
        """The pane that holds this time."""
        start_ms = (time_ms - self.offset_ms) // self.pane_ms * self.pane_ms + self.offset_ms
        return Span(start_ms, start_ms + self.pane_ms)

    def first_end_ms(self, after_ms: int) -> int:
        """The first end of a window that is later than this time."""
        start_ms = self.offset_ms + self.size_ms % self.slide_ms
        return (after_ms - start_ms) // self.slide_ms * self.slide_ms + self.slide_ms + start_ms

    def last_end_ms(self, pane_ms: int) -> int | None:
        """The end of the last window with the pane that starts here; None: it lies in a gap between windows."""
        start_ms = (pane_ms - self.offset_ms) // self.slide_ms * self.slide_ms + self.offset_ms
        return start_ms + self.size_ms if pane_ms < start_ms + self.size_ms else None


class Session:
    """Windows of each key by itself, from a record to the gap behind the last one. Make it with `session`."""

    def __init__(self, gap_ms: int) -> None:
        self.gap_ms = gap_ms
        self.name = f"session-{gap_ms}ms"


class CountWindow:
    """Windows of so many records of a key. Make it with `count_window`."""

    def __init__(self, size: int, slide: int) -> None:
        self.size, self.slide = size, slide
        self.name = f"count-{size}-{slide}"


def windowers(window: Windower | Sequence[Windower]) -> tuple[Windower, ...]:
    """The kinds of window that a setting gives."""
    return tuple(window) if isinstance(window, Sequence) else (window,)


def tumbling(size: str | timedelta, *, offset: str | timedelta = "0s") -> Tumbling:
    """Windows of a fixed size, from multiples of the size since the epoch, moved on by `offset`: `tumbling("1h")`.

    Raises:
        ValueError: the size is no positive duration.
    """
    return Tumbling(_positive_ms(size, "size"), duration_ms(offset))


def sliding(
    size: str | timedelta, slide: str | timedelta, *, offset: str | timedelta = "0s", gaps: bool = False
) -> Sliding:
    """Windows of a fixed size that begin every `slide` and overlap: `sliding("1h", "1m")`.

    With a slide larger than the size there is time between two windows that is in none: its records are counted as
    dropped. `gaps=True` says that this is meant.

    Raises:
        ValueError: a size is no positive duration, or the slide is larger than the size without `gaps=True`.
    """
    size_ms, slide_ms = _positive_ms(size, "size"), _positive_ms(slide, "slide")
    if slide_ms > size_ms and not gaps:
        raise ValueError(
            f"the slide {slide} is larger than the size {size}: records between two windows would be in none; say "
            "gaps=True if that is meant"
        )
    return Sliding(size_ms, slide_ms, duration_ms(offset))


def session(gap: str | timedelta) -> Session:
    """Windows of activity: a record that comes less than `gap` after another of its key is in the same one.

    Raises:
        ValueError: the gap is no positive duration.
    """
    return Session(_positive_ms(gap, "gap"))


def count_window(size: int, slide: int | None = None) -> CountWindow:
    """Windows of `size` records of a key, in the order in which they arrive; with `slide`, the last `size` records at
    each `slide`-th.

    Raises:
        ValueError: a size is no whole number above 0, or the size is no multiple of the slide.
    """
    for what, value in (("size", size), ("slide", size if slide is None else slide)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"the {what} of a count window is {value!r}; give a whole number above 0")
    if slide is not None and size % slide:
        raise ValueError(f"the size {size} of a count window must be a multiple of its slide {slide}")
    return CountWindow(size, slide or size)


def global_window() -> GlobalWindow:
    """One window for all time; a trigger says when its results are sent."""
    return GlobalWindow()


def sliding_named(name: str) -> Sliding | None:
    """The windows that slide and have this name; None: they are of another kind."""
    sizes = re.fullmatch(r"sliding-(\d+)ms-(\d+)ms(?:\+(\d+)ms)?", name)
    return None if sizes is None else Sliding(*(int(size or 0) for size in sizes.groups()))


def _positive_ms(duration: str | timedelta, what: str) -> int:
    size_ms = duration_ms(duration)
    if size_ms == 0:
        raise ValueError(f"a window cannot have the {what} 0")
    return size_ms


def _shifted(offset_ms: int) -> str:
    return f"+{offset_ms}ms" if offset_ms else ""
