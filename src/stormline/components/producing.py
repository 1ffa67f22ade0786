"""Messages of one task on their way to Kafka: each is sent until the broker has confirmed it, or will never take it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

from stormline.components.edges import Writer
from stormline.components.host import Host
from stormline.core.events import Unsent

RETRY_AFTER_MS = 1_000
INSIST_AFTER_MS = 30_000
"""What is refused for good makes kafka-python's producer useless for all others with it."""

Done = Callable[[str | None], None]
"""Called once: with None when the broker has confirmed the message, with the reason if it does not take it as it is."""


class Producing:
    """The messages of one task. `create`: topics that do not exist are made. Nothing is connected before the first."""

    def __init__(self, host: Host, *, create: bool) -> None:
        self._host = host
        self._create = create
        self._writer: Writer | None = None
        self._retries: list[tuple[int, Callable[[], None]]] = []
        """When, and what; in the order of the times."""
        self.waiting = 0
        """Messages that are not settled."""
        self.trouble: str | None = None

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Done,
        insist: bool = False,
    ) -> None:
        """`insist`: what is too large is tried again, too; the topic's limit may be raised."""
        self.waiting += 1
        self._attempt(topic, key, value, headers, insist, done)

    def _attempt(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        insist: bool,
        done: Done,
    ) -> None:
        if self._writer is None:
            self._writer = self._host.edges.writer(create=self._create, post=self._host.post)
        again = partial(self._attempt, topic, key, value, headers, insist, done)
        answered = partial(self._answered, topic, insist, again, done)
        self._writer.send(topic, key=key, value=value, headers=headers, done=answered)

    def _answered(self, topic: str, insist: bool, again: Callable[[], None], done: Done, unsent: Unsent | None) -> None:
        if unsent is not None and (insist or not unsent.final):
            trouble = f"cannot write to {topic}: {unsent.reason}; trying again"
            if trouble != self.trouble:  # many messages may wait for one broker
                self._host.report_error(trouble)
            self.trouble = trouble
            after_ms = INSIST_AFTER_MS if unsent.final else RETRY_AFTER_MS
            insort(self._retries, (self._host.now_ms() + after_ms, again), key=itemgetter(0))
            return
        if not self._retries:
            self.trouble = None
        self.waiting -= 1
        done(None if unsent is None else unsent.reason)

    @property
    def due_ms(self) -> int | None:
        """When the next one is to be tried again."""
        return self._retries[0][0] if self._retries else None

    def on_time(self, now_ms: int) -> None:
        """Try again what is due."""
        while self._retries and self._retries[0][0] <= now_ms:
            self._retries.pop(0)[1]()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
