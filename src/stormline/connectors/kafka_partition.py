"""What a reader knows about each of its partitions: where it stands, and what is ready to be handed out."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from stormline.connectors.columns import Columns
from stormline.connectors.kafka_clients import Address, Consumer, KafkaFault
from stormline.core.events import Fetched, Standing

AHEAD_RECORDS = 8_000
AHEAD_BYTES = 8 << 20


class Partition:
    """`name` is the identity in events."""

    def __init__(self, name: str, address: Address, log_end: int) -> None:
        self.name = name
        self.address = address
        self.ready: deque[tuple[Columns, int]] = deque()
        """Batches to hand out, each with the bytes of its values."""
        self._ahead = self._ahead_bytes = 0
        """Records in `ready`, and the bytes of their values."""
        self.position = 0
        """Behind all of `ready`."""
        self.log_end = log_end
        self.granted = False
        self._told = (-1, -1)

    @property
    def is_full(self) -> bool:
        """No more needs to be fetched for now."""
        return self._ahead >= AHEAD_RECORDS or self._ahead_bytes >= AHEAD_BYTES

    @property
    def is_caught_up(self) -> bool:
        return not self.ready and self.position >= self.log_end

    def seek(self, offset: int) -> None:
        self.position = offset
        self.ready.clear()
        self._ahead = self._ahead_bytes = 0
        self._told = (offset, self.log_end)  # by `Assigned`

    def add(self, batches: Iterable[Columns]) -> None:
        """What was fetched."""
        for columns in batches:
            size = columns.size
            self.ready.append((columns, size))
            self._ahead += len(columns.offsets)
            self._ahead_bytes += size

    def moved(self, position: int, log_end: int | None) -> None:
        """A log end never goes back: Kafka answers from the committed end or from the whole, as one asks."""
        self.position = position
        self.log_end = max(self.log_end, log_end or 0)

    def next_event(self) -> Fetched | None:
        """The next batch, or the position and log end if they moved; None if there is no news. It uses up the grant."""
        columns, position = Columns([], [], [], []), self.position
        if self.ready:
            columns, size = self.ready.popleft()
            self._ahead -= len(columns.offsets)
            self._ahead_bytes -= size
            if self.ready:
                position = columns.offsets[-1] + 1
        elif self._told == (position, self.log_end):
            return None
        self._told = (position, self.log_end)
        self.granted = False
        offsets, times, keys, values, headers = columns
        return Fetched(self.name, offsets, times, keys, values, position, self.log_end, headers)


def own_addresses(topic: str, numbers: Iterable[int], task_index: int, task_count: int) -> list[Address]:
    """The partitions of one task: partition p goes to task (crc32(topic) + p) mod tasks."""
    first = zlib.crc32(topic.encode())
    return [Address(topic, p) for p in sorted(numbers) if (first + p) % task_count == task_index]


def standings(consumer: Consumer, names: Mapping[Address, str], start_ms: int | None) -> tuple[Standing, ...]:
    """Ask the broker where the partitions stand, and where the records since `start_ms` begin. Raises KafkaFault."""
    if not names:
        return ()
    beginnings, ends, committed = consumer.beginnings(names), consumer.ends(names), consumer.committed(names)
    since: dict[Address, int | None] = dict.fromkeys(names)
    if start_ms is not None:
        found = consumer.since(names, start_ms)
        since = {each: ends[each] if found[each] is None else found[each] for each in names}
    return tuple(
        Standing(
            partition=name,
            topic=address.topic,
            number=address.number,
            committed=committed[address],
            beginning=beginnings[address],
            log_end=ends[address],
            since=since[address],
        )
        for address, name in names.items()
    )


def lost(consumer: Consumer, addresses: Collection[Address], partitions: Mapping[Address, Partition]) -> str:
    """Say which positions are not in the log any more, what is there instead, and what that means."""
    lines = []
    for address in addresses:
        name, position = partitions[address].name, partitions[address].position
        try:
            first, end = consumer.beginnings([address])[address], consumer.ends([address])[address]
        except KafkaFault as unknown:
            lines.append(f"{name} at offset {position} ({unknown})")
        else:
            if position < first:
                why = f"the {first - position:,} offsets before were deleted before they were read (retention)"
            else:
                why = "the topic was made anew, or has lost its end"
            lines.append(f"{name} at offset {position}, but Kafka has {first} to {end}: {why}")
    return f"{'; '.join(lines)}. Start over under another name, or with --fresh."
