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


class Care:
    """The partitions of a task that go carefully."""

    def __init__(self) -> None:
        self.partitions: dict[str, Careful] = {}
        self.alone: int | None = None
        """The batch of one record that the store knows of, and that is out or may go."""

    def parts(self, partition: str, rows: Rows) -> list[Rows]:
        """The batches that these rows make."""
        return self.partitions[partition].parts(rows) if partition in self.partitions else [rows]

    def lets(self, partition: str, number: int) -> bool:
        """Whether this batch may go now."""
        careful = self.partitions.get(partition)
        return careful is None or (self.alone == number if careful.alone else careful.out is None)

    def emitted(self, partition: str, number: int) -> None:
        """It is on its way."""
        if partition in self.partitions:
            self.partitions[partition].out = number

    def gone(self, partition: str, number: int) -> None:
        """It is acked, or passed over."""
        self.alone = None if self.alone == number else self.alone
        careful = self.partitions.get(partition)
        if careful is not None and careful.out == number:
            careful.out = None

    def got_on(self, partition: str, frontier: int, *, caught_up: bool) -> None:
        """Care ends where it is no longer needed."""
        careful = self.partitions.get(partition)
        if careful is not None and (caught_up or frontier >= careful.until):
            del self.partitions[partition]
