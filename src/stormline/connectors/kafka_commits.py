"""Commits of one reader: one request at a time; what is asked for meanwhile is joined to the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from stormline.connectors.kafka_clients import Address, Consumer, KafkaFault

RETRY_S = 0.5


class Commits:
    """`on_done` gets what was committed, partition name -> offset; `on_failure` the error of one that is repeated."""

    def __init__(self, on_done: Callable[[dict[str, int]], None], on_failure: Callable[[KafkaFault], None]) -> None:
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

    def send(self, consumer: Consumer, addresses: Mapping[str, Address]) -> None:
        """Send what waits, unless a request is on its way. `addresses`: partition name -> where it is."""
        if not self._waiting or self._sent is not None or time.monotonic() < self._not_before:
            return
        self._sent, self._waiting = self._waiting, {}
        try:
            consumer.commit({addresses[name]: offset for name, offset in self._sent.items()}, self._answered)
        except KafkaFault as fault:
            self._answered(fault)

    def finish(self, consumer: Consumer, addresses: Mapping[str, Address], *, within_s: float) -> None:
        """Wait for the answers to all that was asked for; no record is read any more."""
        deadline = time.monotonic() + within_s
        consumer.hold(addresses.values())
        self._not_before = 0.0
        while (self._waiting or self._sent is not None) and time.monotonic() < deadline:
            self.send(consumer, addresses)
            consumer.poll(5)

    def _answered(self, fault: KafkaFault | None) -> None:
        """Called by `poll`, so on the reader's thread."""
        offsets, self._sent = self._sent or {}, None
        if fault is not None:
            self._waiting = offsets | self._waiting
            self._not_before = time.monotonic() + RETRY_S
            self._on_failure(fault)
        else:
            self._on_done(offsets)
