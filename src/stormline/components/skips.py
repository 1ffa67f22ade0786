"""The records that an operator wants to be passed over (`sparse dlq skip`): they become dead letters, undecoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stormline.core.events import Fetched
from stormline.core.record import Origin

SKIPPED = "passed over with `sparse dlq skip`"


class Passed(NamedTuple):
    """A record that is not decoded: it may be the decoder that dies of it."""

    offset: int
    key: bytes | None
    value: bytes | None


class Skips:
    """Records as `topic/partition/offset`: people do not write the topic's id."""

    def __init__(self) -> None:
        self._records: frozenset[str] = frozenset()
        self._partitions: dict[str, str] = {}

    def assign(self, topic: str, number: int, partition: str) -> None:
        """The identity of a partition."""
        self._partitions[f"{topic}/{number}"] = partition

    def update(self, records: frozenset[str]) -> Iterator[Origin]:
        """All that are to be passed over now; gives those that are new, of partitions that are known."""
        fresh, self._records = records - self._records, records
        for record in sorted(fresh):
            place, _, offset = record.rpartition("/")
            if place in self._partitions:
                yield Origin(self._partitions[place], int(offset))

    def without(self, fetched: Fetched) -> tuple[Fetched, list[Passed]]:
        """What is to be decoded, and what is passed over."""
        if not self._records:
            return fetched, []
        skipped = [i for i, o in enumerate(fetched.offsets) if str(Origin(fetched.partition, o)) in self._records]
        if not skipped:
            return fetched, []
        left = fetched.at([i for i in range(len(fetched.offsets)) if i not in skipped])
        return left, [Passed(fetched.offsets[i], fetched.keys[i], fetched.values[i]) for i in skipped]
