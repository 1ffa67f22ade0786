"""What one Storm tuple carries between our components: records of one partition.

Columns instead of one object a record: a batch passes through a process by reference, and a column is walked or
encoded in one go. These names are the fields of every `batch` and `by_<component>` stream.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

BATCH_FIELDS = ("slot", "lane", "partition", "records", "attempt")


class Rows(NamedTuple):
    """The records of a batch, column by column; all lists have one length, in the order of the offsets.

    Between the first offset and the last there is no other record of this partition and lane for the task that the
    batch goes to. A record that a user function turned into several stands several times with one offset, never cut
    over two batches: its outputs are counted all together or not at all.
    """

    offsets: list[int]
    times_ms: list[int]
    """Event times, ms since the epoch, UTC."""
    values: list[Any]
    keys: list[str] | None = None
    """Canonical key texts, where the stream is split for a keyed bolt."""

    def at(self, indices: Sequence[int]) -> Rows:
        """The rows at these indices, of which there is at least one."""
        if len(indices) == 1:
            return self.piece(slice(indices[0], indices[0] + 1))
        pick = itemgetter(*indices)
        return Rows(*(column and list(pick(column)) for column in self))  # type: ignore[arg-type]

    def piece(self, rows: slice) -> Rows:
        return Rows(*(column and column[rows] for column in self))  # type: ignore[arg-type]


def pieces(offsets: Sequence[int], broken: Iterable[int]) -> list[slice]:
    """How to cut rows with these offsets so that no tuple reaches over a broken origin: a keyed bolt takes a tuple's
    range for counted, and a broken record is not."""
    bounds = sorted({0, len(offsets), *(bisect_left(offsets, offset) for offset in broken)})
    return [slice(first, end) for first, end in pairwise(bounds)]


class Batch(NamedTuple):
    """The values of a data tuple, in the order of `BATCH_FIELDS`."""

    slot: int
    """The smallest slot owned by the task it goes to; -1 where the stream is not keyed."""
    lane: str
    """The whole path of streams the records took: a diamond counts each path once."""
    partition: str
    """Identity of the partition the offsets belong to: `<topic>:<topic id>/<number>`."""
    records: Rows
    attempt: int = 1
    """How many times the spout has emitted these records, this time included; for their dead letters."""
