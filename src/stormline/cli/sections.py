"""What a topology wants shown at the end of a run, as data: `summary = [Top("monthly", by="amount"), Rows("alerts")]`.

The command line draws them; it knows no domain words of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Top:
    """The window of `component` whose keys have the largest sum of `by`, and its `n` keys with the most of it.

    `by`: the name of one of the component's aggregates, a number. `title`: a line above; `{window}` is its start.
    """

    component: str
    by: str
    n: int = 10
    title: str = ""


@dataclass(frozen=True)
class Rows:
    """How many results `component` has, and the first and the last `n` of them by their windows."""

    component: str
    n: int = 3
    title: str = ""


Section = Top | Rows
