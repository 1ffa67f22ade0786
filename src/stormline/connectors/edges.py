"""The real edges of a process: one store connection shared by its tasks, readers and writers of Kafka.

A client is imported when it is first asked for: on a cluster each task is a process that starts by itself, and the two
clients are a third to a half of what it imports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stormline.core.requests import Request
from stormline.core.topics import Topics, named

if TYPE_CHECKING:
    from stormline.connectors.brokers import Brokers
    from stormline.connectors.kafka_reader import KafkaReader
    from stormline.connectors.kafka_writer import KafkaWriter
    from stormline.connectors.redis import Done, Post, RedisStore


class ServerEdges:
    """Edges to a Kafka and a Redis."""

    def __init__(self, *, brokers: Brokers, redis_url: str) -> None:
        self._brokers = brokers
        self._redis_url = redis_url
        self._store: RedisStore | None = None

    def reader(
        self,
        *,
        topics: Topics,
        group: str,
        task_index: int,
        task_count: int,
        max_batch: int,
        timestamps: bool,
        start_ms: int | None,
        on_event: Callable[..., None],
        post: Post,
    ) -> KafkaReader:
        from stormline.connectors.kafka_reader import KafkaReader

        return KafkaReader(
            brokers=self._brokers,
            topic=named(topics)[0],
            group=group,
            task_index=task_index,
            task_count=task_count,
            max_batch=max_batch,
            timestamps=timestamps,
            start_ms=start_ms,
            on_event=on_event,
            post=post,
        )

    def writer(self, *, create: bool, post: Post) -> KafkaWriter:
        from stormline.connectors.kafka_writer import KafkaWriter

        return KafkaWriter(brokers=self._brokers, create=create, post=post)

    def store(self, *, app: str, post: Post) -> TaskStore:
        from stormline.connectors.redis import RedisStore

        if self._store is None:
            self._store = RedisStore(self._redis_url)
        return TaskStore(self._store, app, post)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


class TaskStore:
    """One task's view of the shared store."""

    def __init__(self, store: RedisStore, app: str, post: Post) -> None:
        self._store, self._app, self._post = store, app, post

    def submit(self, requests: Sequence[Request], done: Done) -> None:
        self._store.submit(self._app, requests, done, self._post)

    def close(self) -> None:
        """Nothing of the task's own; the connection belongs to the process."""
