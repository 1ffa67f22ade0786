"""What a component tells about itself, for the live view, the summary and the end of a bounded run."""

from __future__ import annotations

import msgspec


class Status(msgspec.Struct, kw_only=True):
    """Counts since the task started; times in ms since the epoch; None where a figure means nothing for a component."""

    records_in: int = 0
    """Records received, replays included (a spout: records read from Kafka)."""
    records_out: int = 0
    """Records sent on, replays included (a keyed bolt: records counted)."""
    acked: int = 0
    """Records of a spout that are done with: all that came of them is safe. Broken ones are not among them."""
    replayed: int = 0
    """Records that a spout emitted again after a failure, or that a keyed bolt skipped because they are counted."""
    dropped: int = 0
    """Records a filter turned away."""
    broken: int = 0
    """Records that could not be decoded, or on which user code raised; they are in the dead-letter topic."""
    late: int = 0
    """Records behind the watermark and the allowed lateness: kept and counted apart."""
    failed: int = 0
    """Storm tuples that failed or timed out."""
    lag: int | None = None
    """Records between the committable offset and the end of the log."""
    watermark_ms: int | None = None
    open_windows: int | None = None
    settled: bool = False
    """Nothing left to do: a spout at the end of its bounded input with all of it acked and committed, a keyed bolt with
    every window closed and flushed. Stateless bolts are always settled."""
    trouble: str | None = None
    """What it is waiting for, in one line, if the outside world is in the way."""
    chained: dict[str, Status] = {}
    """By name: the stateless components that run in this task, too (`chain=True`)."""
