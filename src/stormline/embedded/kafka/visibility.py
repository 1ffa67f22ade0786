"""Which records of one partition a reader of committed ones may see: the transactions that are open in it, and those
that were aborted.

Nothing of this is written: batches and markers say it all, so the state is rebuilt from the log at start.
"""

from bisect import bisect_left
from typing import NamedTuple

from stormline.embedded.kafka.batches import Batch


class Aborted(NamedTuple):
    """An aborted transaction in a partition: the offsets of its first record and of its marker."""

    last_offset: int
    first_offset: int
    producer_id: int


class Visibility:
    """The transactions of one partition. A producer has one at a time."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[int, int]] = {}
        """Producer id -> (first offset, epoch) of its open transaction."""
        self._aborted: list[Aborted] = []  # by their markers' offsets

    def note(self, batch: Batch, base_offset: int, *, commits: bool) -> None:
        """Take in a batch that is in the log now; `commits` says how a marker ends its transaction."""
        if batch.is_control:
            opened = self.open.pop(batch.producer_id, None)
            if opened is not None and not commits:
                self._aborted.append(Aborted(base_offset, opened[0], batch.producer_id))
        elif batch.is_transactional:
            self.open.setdefault(batch.producer_id, (base_offset, batch.producer_epoch))

    def last_stable_offset(self, end: int) -> int:
        """Below it every transaction has ended."""
        return min((first for first, _ in self.open.values()), default=end)

    @property
    def has_aborted(self) -> bool:
        """Whether there is any at all: mostly there is not, and nothing has to be looked through."""
        return bool(self._aborted)

    def aborted(self, start: int, end: int) -> list[Aborted]:
        """The aborted transactions that have records or their marker in `start`..`end` - 1."""
        found = self._aborted[bisect_left(self._aborted, (start,)) :]
        return [each for each in found if each.first_offset < end]

    def trim(self, start: int) -> None:
        """Forget what lies wholly before the first offset of the log."""
        del self._aborted[: bisect_left(self._aborted, (start,))]
