"""The real edges of a process: one store connection shared by its tasks, readers and writers of Kafka."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stormline.connectors.kafka_reader import KafkaReader
from stormline.connectors.kafka_writer import KafkaWriter
from stormline.connectors.redis import Done, Post, RedisStore
from stormline.core.requests import Request


class ServerEdges:
    """Edges to a Kafka and a Redis. Clients are made when first asked for."""

    def __init__(self, *, brokers: str, redis_url: str) -> None:
        self._brokers = brokers
        self._redis_url = redis_url
        self._store: RedisStore | None = None

    def reader(
        self,
        *,
        topic: str,
        group: str,
        task_index: int,
        task_count: int,
        max_batch: int,
        timestamps: bool,
        on_event: Callable[..., None],
        post: Post,
    ) -> KafkaReader:
        return KafkaReader(
            brokers=self._brokers,
            topic=topic,
            group=group,
            task_index=task_index,
            task_count=task_count,
            max_batch=max_batch,
            timestamps=timestamps,
            on_event=on_event,
            post=post,
        )

    def writer(self, *, post: Post) -> KafkaWriter:
        return KafkaWriter(brokers=self._brokers, post=post)

    def store(self, *, app: str, post: Post) -> TaskStore:
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
