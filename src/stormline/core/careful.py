"""How a partition is read whose spout began at the same offset again and again: something in the next records may kill
the process, and the spout, where both share it, dies before a failure can be told.

So the records go out in ever smaller batches, one at a time, and in the end one by one, each named in the store before
it is emitted: the one that kills is then the last one named.
"""

from __future__ import annotations

from stormline.core.batch import Rows

CAREFUL_FROM_START = 3
"""The first start that is careful; as many deaths may have another cause."""
FIRST_SIZE = 128
SHRINKS = 5
"""By so much a batch is smaller at each further start: 128, 25, 5, 1 records."""
FOR_OFFSETS = 1_000
"""So far behind the start everything goes its usual way."""


class Careful:
    """One partition. `size`: records in a batch; `until`: the frontier at which care is no longer needed."""

    def __init__(self, size: int, until: int) -> None:
        self.size = size
        self.until = until
        self.out: int | None = None
        """The batch that is on its way."""
        self.known: int | None = None
        """The batch that the store knows of."""

    @classmethod
    def after(cls, starts: int, start: int) -> Careful | None:
        """What so many starts at this offset call for; None: nothing."""
        if starts < CAREFUL_FROM_START:
            return None
        return cls(max(1, FIRST_SIZE // SHRINKS ** min(starts - CAREFUL_FROM_START, 4)), start + FOR_OFFSETS)

    def parts(self, rows: Rows) -> list[Rows]:
        return [rows.piece(slice(first, first + self.size)) for first in range(0, len(rows.offsets), self.size)]

    def lets(self, number: int) -> bool:
        """Whether this batch may go now."""
        return self.out is None and (self.size > 1 or self.known == number)

    def wants_to_try(self, number: int) -> bool:
        """Whether this batch waits only for being known."""
        return self.size == 1 and self.out is None and self.known != number

    def passed(self, number: int, frontier: int) -> bool:
        """A batch is acked; True if that was all that needed care."""
        if number == self.out:
            self.out = None
        return frontier >= self.until
