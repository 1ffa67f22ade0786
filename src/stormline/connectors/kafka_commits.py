"""Commits of one reader: one request at a time; what is asked for meanwhile is joined to the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import OffsetAndMetadata

RETRY_S = 0.5


class Commits:
    """`on_done` gets what was committed, partition name -> offset; `on_failure` the error of one that is repeated."""

    def __init__(self, on_done: Callable[[dict[str, int]], None], on_failure: Callable[[Exception], None]) -> None:
        self._on_done = on_done
        self._on_failure = on_failure
        self._waiting: dict[str, int] = {}
        self._sent: dict[str, int] | None = None
        self._not_before = 0.0

    @property
    def is_on_its_way(self) -> bool:
        return self._sent is not None

    def ask(self, offsets: Mapping[str, int]) -> None:
        self._waiting.update(offsets)

    def send(self, consumer: Any, addresses: Mapping[str, Any]) -> None:
        """Send what waits, unless a request is on its way. `addresses`: partition name -> kafka-python's address."""
        if not self._waiting or self._sent is not None or time.monotonic() < self._not_before:
            return
        self._sent, self._waiting = self._waiting, {}
        offsets = {addresses[name]: OffsetAndMetadata(offset, "", -1) for name, offset in self._sent.items()}
        consumer.commit_async(offsets, callback=self._answered)

    def finish(self, consumer: Any, addresses: Mapping[str, Any], *, within_s: float) -> None:
        """Wait for the answers to all that was asked for."""
        deadline = time.monotonic() + within_s
        consumer.pause(*consumer.assignment())
        self._not_before = 0.0
        while (self._waiting or self._sent is not None) and time.monotonic() < deadline:
            self.send(consumer, addresses)
            consumer.poll(timeout_ms=5)

    def _answered(self, _: Any, answer: Any) -> None:
        """Called by `poll`, so on the reader's thread."""
        offsets, self._sent = self._sent or {}, None
        if isinstance(answer, Exception):
            self._waiting = offsets | self._waiting
            self._not_before = time.monotonic() + RETRY_S
            self._on_failure(answer)
        else:
            self._on_done(offsets)
