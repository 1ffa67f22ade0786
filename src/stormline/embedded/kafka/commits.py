"""The offsets that groups have committed, kept in `groups.journal`."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stormline.embedded.kafka.journal import Entry, Journal

Partition = tuple[str, int]


class Commit(NamedTuple):
    """The next offset to read, the leader epoch of the last one read, and a note of the consumer's own."""

    offset: int
    leader_epoch: int
    metadata: str


class Commits:
    """Group -> (topic, partition) -> commit. What changes it raises OSError when the disk does, and changes nothing."""

    def __init__(self, directory: Path) -> None:
        self.groups: dict[str, dict[Partition, Commit]] = {}
        self.journal = Journal(directory / "groups.journal", self._apply, self._snapshot)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case ["commit", group, rows]:
                held = self.groups.setdefault(group, {})
                for topic, partition, *commit in rows:
                    held[topic, partition] = Commit(*commit)
            case ["forget", group, rows]:
                for topic, partition in rows:
                    self.groups[group].pop((topic, partition), None)
            case ["forget group", group]:
                self.groups.pop(group, None)
            case ["forget topic", name]:
                for held in self.groups.values():
                    for partition in [partition for partition in held if partition[0] == name]:
                        del held[partition]
            case _:
                raise ValueError(f"the group journal has an entry of a newer version: {entry}")

    def _snapshot(self) -> Iterator[Entry]:
        for group, held in self.groups.items():
            yield ["commit", group, [[*partition, *commit] for partition, commit in held.items()]]

    def commit(self, group: str, commits: dict[Partition, Commit]) -> None:
        """Keep all of these, or none."""
        self.journal.append(["commit", group, [[*partition, *commit] for partition, commit in commits.items()]])

    def forget(self, group: str, partitions: list[Partition]) -> None:
        self.journal.append(["forget", group, [list(partition) for partition in partitions]])

    def forget_group(self, group: str) -> None:
        self.journal.append(["forget group", group])

    def forget_topic(self, name: str) -> None:
        self.journal.append(["forget topic", name])

    def close(self) -> None:
        self.journal.file.close()
