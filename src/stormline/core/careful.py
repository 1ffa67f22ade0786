"""How a partition is read whose spout began again and again without getting on: something in the next records may kill
the process, and the spout, where both share it, dies before a failure can be told.

So the records go out in ever smaller batches, one batch at a time in the whole app, and in the end one by one. Each is
named in the store before it goes: a single record that is still named after a death was the cause. Others that go
carefully wait, for beside a batch that kills, whatever else is out would be blamed.
"""

from __future__ import annotations

from collections.abc import Iterable

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

    @classmethod
    def after(cls, starts: int, start: int) -> Careful | None:
        """What so many starts, the last one at this offset, call for; None: nothing."""
        if starts < CAREFUL_FROM_START:
            return None
        return cls(max(1, FIRST_SIZE // SHRINKS ** min(starts - CAREFUL_FROM_START, 4)), start)

    def parts(self, rows: Rows) -> list[Rows]:
        """The batches that these rows make."""
        return [rows.piece(slice(first, first + self.size)) for first in range(0, len(rows.offsets), self.size)]


class Care:
    """The partitions of a task that go carefully."""

    def __init__(self) -> None:
        self.partitions: dict[str, Careful] = {}
        self._granted: int | None = None
        """The batch that the store knows of, and that may go now."""
        self._out: set[int] = set()
        """The batch that has gone, or what it was split into."""

    @property
    def is_busy(self) -> bool:
        """Whether a batch that the store knows of is on its way, or may go."""
        return self._granted is not None or bool(self._out)

    def parts(self, partition: str, rows: Rows) -> list[Rows]:
        """The batches that these rows make."""
        return self.partitions[partition].parts(rows) if partition in self.partitions else [rows]

    def lets(self, partition: str, number: int) -> bool:
        """Whether this batch may go now."""
        return partition not in self.partitions or self._granted == number

    def grant(self, number: int) -> None:
        """The store knows of it."""
        self._granted = number

    def withdraw(self, waiting: Iterable[int]) -> None:
        """What may go shall not, and these have come back."""
        self._granted = None
        self._out.difference_update(waiting)

    def emitted(self, number: int) -> None:
        """It is on its way."""
        if self._granted == number:
            self._granted = None
            self._out.add(number)

    def split(self, number: int, parts: Iterable[int]) -> None:
        """These take its place."""
        if number in self._out:
            self._out.remove(number)
            self._out.update(parts)
        elif self._granted == number:
            self._granted = None

    def gone(self, number: int) -> None:
        """It is acked."""
        self._out.discard(number)

    def end(self) -> None:
        """What made it needful is out of the way: whatever is out now is not alone any more."""
        self.partitions.clear()
        self._granted = None
        self._out.clear()

    def got_on(self, partition: str, frontier: int, *, caught_up: bool) -> None:
        """Care ends where it is no longer needed."""
        careful = self.partitions.get(partition)
        if careful is not None and (caught_up or frontier >= careful.until):
            del self.partitions[partition]
