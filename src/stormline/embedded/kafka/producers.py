"""Which batches of which idempotent producer one partition has seen (KIP-98): a repeated batch is stored once.

Nothing of this is written: every batch carries its producer, so the state is rebuilt from the log at start.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from stormline.embedded.kafka.batches import Batch
from stormline.embedded.kafka.errors import Code, RefusedError

_REMEMBERED_BATCHES = 5  # a producer has at most five requests in flight, so an older one is never repeated
_REMEMBERED_PRODUCERS = 1000  # the least recently active one is forgotten, and is new if it comes again
_SEQUENCES = 1 << 31  # sequence numbers begin again at 0


@dataclass(slots=True)
class _Producer:
    epoch: int
    recent: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))


class Producers:
    """The idempotent producers of one partition."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[int, _Producer] = OrderedDict()

    def check(self, batch: Batch) -> int | None:
        """The base offset of an earlier copy of this batch, or None if it is new. A gap is refused."""
        producer = self._by_id.get(batch.producer_id)
        if batch.producer_id < 0 or producer is None:
            return None
        if batch.producer_epoch < producer.epoch:
            reason = f"producer {batch.producer_id} has epoch {producer.epoch}, {batch.producer_epoch} came"
            raise RefusedError(Code.INVALID_PRODUCER_EPOCH, reason)
        expected = 0
        if batch.producer_epoch == producer.epoch:
            last_sequence = _last_sequence(batch)
            for first, last, base_offset in producer.recent:
                if (first, last) == (batch.base_sequence, last_sequence):
                    return base_offset
            expected = (producer.recent[-1][1] + 1) % _SEQUENCES if producer.recent else 0
        if batch.base_sequence != expected:
            reason = f"producer {batch.producer_id}: sequence {expected} is next, {batch.base_sequence} came"
            raise RefusedError(Code.OUT_OF_ORDER_SEQUENCE_NUMBER, reason)
        return None

    def note(self, batch: Batch, base_offset: int) -> None:
        """Remember a batch that is in the log now, at `base_offset`."""
        if batch.producer_id < 0:
            return
        producer = self._by_id.get(batch.producer_id)
        if producer is None or producer.epoch != batch.producer_epoch:
            producer = self._by_id[batch.producer_id] = _Producer(batch.producer_epoch)
        if not batch.is_control:  # a marker has no sequence, but may bring a new epoch
            producer.recent.append((batch.base_sequence, _last_sequence(batch), base_offset))
        self._by_id.move_to_end(batch.producer_id)
        if len(self._by_id) > _REMEMBERED_PRODUCERS:
            self._by_id.popitem(last=False)


def _last_sequence(batch: Batch) -> int:
    return (batch.base_sequence + batch.last_offset_delta) % _SEQUENCES
