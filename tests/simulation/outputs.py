"""What is made of the records: outputs with an identity each, and the aggregate that collects these."""

from __future__ import annotations

from random import Random

import msgspec
from simulation.topic import Topic

KEYS = range(5)


class Output(msgspec.Struct, frozen=True):
    """One output of a record."""

    id: str


class Identities:
    """An aggregate that keeps the identity of each output it was given."""

    value = "id"

    def create(self) -> list[str]:
        return []

    def add(self, accumulator: list[str], value: str) -> list[str]:
        return [*accumulator, value]

    def merge(self, left: list[str], right: list[str]) -> list[str]:
        return left + right

    def result(self, accumulator: list[str]) -> list[str]:
        return accumulator


class Outputs:
    """The outputs of all records of a topic, on each lane. A record is `partition:offset`, an output
    `partition:offset:number:lane`."""

    def __init__(self, topic: Topic, lanes: tuple[str, ...]) -> None:
        self.lanes = lanes
        self.keys = {f"{p}:{o}": _keys(f"{p}:{o}") for p, log in enumerate(topic.logs) for o in range(len(log))}
        self.expected = {
            f"{p}:{o}:{n}:{lane}": time_ms
            for p, log in enumerate(topic.logs)
            for o, time_ms in enumerate(log)
            if o not in topic.gaps[p]
            for n in range(len(self.keys[f"{p}:{o}"]))
            for lane in lanes
        }
        """Output -> event time of its record."""


def _keys(record: str) -> list[int]:
    """The keys of a record's outputs: the user's function, the same at every replay."""
    random = Random(f"outputs of {record}")
    return [random.choice(KEYS) for _ in range(random.choice([0, 1, 1, 1, 2, 3]))]
