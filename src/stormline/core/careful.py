"""How a partition is read whose spout began again and again without getting on: something in the next records may kill
the process, and the spout, where both share it, dies before a failure can be told.

So the records go out in ever smaller batches, one at a time, and in the end one by one. A record that goes out alone is
named in the store before, one at a time in the whole app: the one that is still named after a death was the cause.
"""

from __future__ import annotations

from stormline.core.batch import Rows

CAREFUL_FROM_START = 3
"""The first start that is careful; as many deaths may have another cause."""
FIRST_SIZE = 128
SHRINKS = 5
"""By so much a batch is smaller at each further start: 128, 25, 5, 1 records."""
FOR_RECORDS = 128_000
"""Behind so many records everything goes its usual way: as many may have been on their way at the first deaths."""
FOR_BATCHES = 400
"""Later ones died closer to what had been committed: after as many it was something else, a kill by hand say."""


class Careful:
    """One partition. `size`: records in a batch; `until`: the frontier at which care is no longer needed."""

    def __init__(self, size: int, start: int) -> None:
        self.size = size
        self.until = start + (FOR_RECORDS if size == FIRST_SIZE else FOR_BATCHES * size)
        self.out: int | None = None
        """The batch that is on its way."""

    @classmethod
    def after(cls, starts: int, start: int) -> Careful | None:
        """What so many starts, the last one at this offset, call for; None: nothing."""
        if starts < CAREFUL_FROM_START:
            return None
        return cls(max(1, FIRST_SIZE // SHRINKS ** min(starts - CAREFUL_FROM_START, 4)), start)

    @property
    def alone(self) -> bool:
        """Whether each record goes out by itself."""
        return self.size == 1

    def parts(self, rows: Rows) -> list[Rows]:
        """The batches that these rows make."""
        return [rows.piece(slice(first, first + self.size)) for first in range(0, len(rows.offsets), self.size)]
