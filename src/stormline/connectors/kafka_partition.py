"""What a reader knows about each of its partitions: where it stands, and what is ready to be handed out."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from stormline.connectors.kafka import reason
from stormline.connectors.kafka_columns import Columns
from stormline.core.events import Fetched, Standing

AHEAD_RECORDS = 8_000
ANSWER_MS = 5_000


class Partition:
    """`address` is kafka-python's TopicPartition, `name` the identity in events."""

    def __init__(self, name: str, address: Any, log_end: int) -> None:
        self.name = name
        self.address = address
        self.ready: deque[Columns] = deque()
        """Batches to hand out."""
        self._ahead = 0
        """Records in `ready`."""
        self.position = 0
        """Behind all of `ready`."""
        self.log_end = log_end
        self.granted = False
        self._told = (-1, -1)

    @property
    def is_full(self) -> bool:
        """No more needs to be fetched for now."""
        return self._ahead >= AHEAD_RECORDS

    @property
    def is_caught_up(self) -> bool:
        return not self.ready and self.position >= self.log_end

    def seek(self, offset: int) -> None:
        self.position = offset
        self.ready.clear()
        self._ahead = 0
        self._told = (offset, self.log_end)  # by `Assigned`

    def add(self, batches: Iterable[Columns]) -> None:
        """What was fetched."""
        for columns in batches:
            self.ready.append(columns)
            self._ahead += len(columns.offsets)

    def moved(self, position: int, log_end: int | None) -> None:
        """A log end never goes back: Kafka answers from the committed end or from the whole, as one asks."""
        self.position = position
        self.log_end = max(self.log_end, log_end or 0)

    def next_event(self) -> Fetched | None:
        """The next batch, or the position and log end if they moved; None if there is no news. It uses up the grant."""
        columns, position = Columns([], [], [], []), self.position
        if self.ready:
            columns = self.ready.popleft()
            self._ahead -= len(columns.offsets)
            if self.ready:
                position = columns.offsets[-1] + 1
        elif self._told == (position, self.log_end):
            return None
        self._told = (position, self.log_end)
        self.granted = False
        offsets, times, keys, values, headers = columns
        return Fetched(self.name, offsets, times, keys, values, position, self.log_end, headers)


def own_addresses(topic: str, numbers: Iterable[int], task_index: int, task_count: int) -> list[Any]:
    """The partitions of one task: partition p goes to task (crc32(topic) + p) mod tasks."""
    first = zlib.crc32(topic.encode())
    return [TopicPartition(topic, p) for p in sorted(numbers) if (first + p) % task_count == task_index]


def standings(consumer: Any, names: dict[Any, str], start_ms: int | None) -> tuple[Standing, ...]:
    """Ask the broker where the partitions (address -> name) stand, and where the records since `start_ms` begin."""
    addresses = list(names)
    if not addresses:
        return ()
    beginnings = consumer.beginning_offsets(addresses, timeout_ms=ANSWER_MS)
    ends = consumer.end_offsets(addresses, timeout_ms=ANSWER_MS)
    since = dict.fromkeys(addresses)
    if start_ms is not None:
        found = consumer.offsets_for_times(dict.fromkeys(addresses, start_ms), timeout_ms=ANSWER_MS)
        since = {each: ends[each] if found.get(each) is None else found[each].offset for each in addresses}
    return tuple(
        Standing(
            partition=name,
            topic=address.topic,
            number=address.partition,
            committed=consumer.committed(address, timeout_ms=ANSWER_MS),
            beginning=beginnings[address],
            log_end=ends[address],
            since=since[address],
        )
        for address, name in names.items()
    )


def lost(consumer: Any, error: KafkaError, partitions: dict[Any, Partition]) -> str:
    """Say which positions are not in the log any more, and what is there instead."""
    lines = []
    for address in error.args[0] if isinstance(error, OffsetOutOfRangeError) else partitions:
        name, position = partitions[address].name, partitions[address].position
        try:
            first = consumer.beginning_offsets([address], timeout_ms=ANSWER_MS)[address]
            end = consumer.end_offsets([address], timeout_ms=ANSWER_MS)[address]
        except KafkaError as unknown:
            lines.append(f"{name} at offset {position} ({reason(unknown)})")
        else:
            lines.append(f"{name} at offset {position}, but Kafka has {first} to {end}")
    return (
        f"{'; '.join(lines)}. The records were deleted (retention), or the topic was made anew, so records are missing "
        "that were never counted. Start over under another name, or with --fresh."
    )
