"""Where a partition stands, as its spout tells it to the store for `sparse explain`."""

from __future__ import annotations

import msgspec


class PartitionReport(msgspec.Struct, kw_only=True):
    """One partition at one time. Times in ms since the epoch."""

    spout: str
    task: int
    at_ms: int
    """When this was told, by the spout's clock."""
    frontier: int
    """The first offset not acked."""
    position: int
    """The next offset to read."""
    log_end: int
    watermark_ms: int | None
    idle: bool
    held_by: tuple[int, int] | None = None
    """First and last offset of the batch at the frontier, if it has failed."""
    records: int = 0
    """In that batch."""
    failures: int = 0
    """Of that batch."""


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(PartitionReport).decode
