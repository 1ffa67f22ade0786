"""What topics there are: names, ids, settings, partitions and their logs; and the next free producer id.

All of it lives in `topics.journal`, which is synced at every change: a log directory that the journal does not know
is the rest of an unfinished creation or deletion, and is removed at start.
"""

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stormline.embedded.kafka.errors import Code, RefusedError
from stormline.embedded.kafka.journal import Entry, Journal
from stormline.embedded.kafka.log import Limits, Log
from stormline.embedded.kafka.settings import apply, check

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_ID_BLOCK = 1000  # producer ids reserved by one journal entry; what is left of a block at a stop is never used


@dataclass(slots=True)
class Topic:
    """A topic; `settings` are those that were given, `starts` the first offsets moved by DeleteRecords."""

    name: str
    id: uuid.UUID
    settings: dict[str, str]
    partitions: int
    starts: dict[int, int] = field(default_factory=dict)
    logs: list[Log] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)


class Catalog:
    """The topics under one data directory. What changes them raises RefusedError, or OSError when the disk does."""

    def __init__(self, directory: Path, *, is_intact: bool) -> None:
        self.topics: dict[str, Topic] = {}
        self.cluster_id = ""
        self._next_producer_id = self._reserved_producer_ids = 0
        self._root = directory / "topics"
        self._root.mkdir(exist_ok=True)
        self.journal = Journal(directory / "topics.journal", self._apply, self._snapshot)
        if not self.cluster_id:
            self._record(["cluster", uuid.uuid4().hex[:22]])
        self._next_producer_id = self._reserved_producer_ids
        known = {self._directory(topic): topic for topic in self.topics.values()}
        for path in self._root.iterdir():
            if path not in known:
                shutil.rmtree(path)
        for topic in known.values():
            self._open_logs(topic, topic.partitions, is_intact=is_intact)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case ["cluster", cluster_id]:
                self.cluster_id = cluster_id
            case ["producers", reserved]:
                self._reserved_producer_ids = reserved
            case ["topic", name, topic_id, settings, partitions]:
                self.topics[name] = Topic(name, uuid.UUID(topic_id), settings, partitions)
            case ["partitions", name, count]:
                self.topics[name].partitions = count
            case ["settings", name, settings]:
                self.topics[name].settings = settings
            case ["start", name, partition, offset]:
                self.topics[name].starts[partition] = offset
            case ["delete", name]:
                del self.topics[name]
            case _:
                raise ValueError(f"the topic journal has an entry of a newer version: {entry}")

    def _snapshot(self) -> Iterator[Entry]:
        yield ["cluster", self.cluster_id]
        yield ["producers", self._reserved_producer_ids]
        for topic in self.topics.values():
            yield ["topic", topic.name, topic.id.hex, topic.settings, topic.partitions]
            for partition, offset in topic.starts.items():
                yield ["start", topic.name, partition, offset]

    def _record(self, entry: Entry) -> None:
        self.journal.append(entry)
        self.journal.file.sync()

    def _directory(self, topic: Topic) -> Path:
        return self._root / f"{topic.name[:200]}-{topic.id.hex}"  # the id: a name may come back after its deletion

    def _open_logs(self, topic: Topic, count: int, *, is_intact: bool) -> None:
        apply(topic.settings, topic.limits)
        for partition in range(len(topic.logs), count):
            log = Log(self._directory(topic) / str(partition), topic.limits, topic.starts.get(partition, 0))
            log.recover(is_intact=is_intact)
            topic.logs.append(log)

    def log(self, name: str, partition: int) -> Log:
        """The log of a partition. RefusedError if there is none."""
        topic = self.topics.get(name)
        if topic is None or not 0 <= partition < len(topic.logs):
            raise RefusedError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition {partition} of topic {name!r}")
        return topic.logs[partition]

    def topic(self, name: str) -> Topic:
        """The topic of that name. RefusedError if there is none."""
        if name not in self.topics:
            _check_name(name)
            raise RefusedError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name!r}")
        return self.topics[name]

    def check_new(self, name: str, partitions: int, settings: dict[str, str]) -> None:
        """RefusedError if such a topic cannot be created."""
        _check_name(name)
        if name in self.topics:
            raise RefusedError(Code.TOPIC_ALREADY_EXISTS, f"topic {name!r} exists")
        if partitions < 1:
            raise RefusedError(Code.INVALID_PARTITIONS, f"a topic has 1 partition or more, not {partitions}")
        check(settings)

    def create(self, name: str, partitions: int, settings: dict[str, str]) -> Topic:
        """A new topic with empty logs."""
        self.check_new(name, partitions, settings)
        topic = Topic(name, uuid.uuid4(), settings, partitions)
        try:
            self._open_logs(topic, partitions, is_intact=True)
            self._record(["topic", name, topic.id.hex, settings, partitions])
        except OSError:
            self._discard(topic)
            raise
        self.topics[name].logs, self.topics[name].limits = topic.logs, topic.limits
        return self.topics[name]

    def alter(self, name: str, settings: dict[str, str]) -> None:
        """Give a topic these settings in the place of those it has; what they do not keep is deleted at once."""
        topic = self.topic(name)
        self._record(["settings", name, settings])
        apply(topic.settings, topic.limits)
        for log in topic.logs:
            log.retain(time.time_ns() // 1_000_000)

    def check_growth(self, name: str, count: int) -> None:
        """RefusedError if a topic cannot have `count` partitions in all."""
        topic = self.topic(name)
        if count <= topic.partitions:
            raise RefusedError(Code.INVALID_PARTITIONS, f"topic {name!r} has {topic.partitions} partitions already")

    def grow(self, name: str, count: int) -> None:
        """Give a topic more partitions, `count` in all."""
        self.check_growth(name, count)
        topic = self.topic(name)
        self._record(["partitions", name, count])
        self._open_logs(topic, count, is_intact=True)

    def delete(self, name: str) -> None:
        """Forget a topic and its records."""
        topic = self.topic(name)
        self._record(["delete", name])
        self._discard(topic)

    def trim(self, name: str, partition: int, offset: int) -> int:
        """Delete the records before `offset` (-1: all); answer the first offset that is left."""
        log = self.log(name, partition)
        start = log.end if offset == -1 else offset
        if not 0 <= start <= log.end:
            raise RefusedError(Code.OFFSET_OUT_OF_RANGE, f"offset {offset} is not in {log.start}..{log.end}")
        if start > log.start:
            self._record(["start", name, partition, start])
            log.trim(start)
        return log.start

    def new_producer_id(self) -> int:
        """An id that no producer has had before, in this run or an earlier one."""
        if self._next_producer_id == self._reserved_producer_ids:
            self._record(["producers", self._reserved_producer_ids + _ID_BLOCK])
        self._next_producer_id += 1
        return self._next_producer_id - 1

    def _discard(self, topic: Topic) -> None:
        for log in topic.logs:
            log.close()
        shutil.rmtree(self._directory(topic), ignore_errors=True)

    def logs(self) -> Iterator[Log]:
        for topic in self.topics.values():
            yield from topic.logs

    def close(self) -> None:
        for log in self.logs():
            log.close()
        self.journal.file.close()


def _check_name(name: str) -> None:
    if not _LEGAL_NAME.fullmatch(name) or name in (".", ".."):
        raise RefusedError(Code.INVALID_TOPIC_EXCEPTION, f"{name!r} is no topic name: 1-249 of a-zA-Z0-9._-")
