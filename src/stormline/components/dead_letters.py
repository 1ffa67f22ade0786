"""Records that broke something, on their way to `<topic>.dead`: with reason, traceback and origin, at least once.

Those that came from no topic go to `<component>.dead`.

A record is settled only when the broker has confirmed it; until then its tuple or its offset waits.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from stormline.components.edges import Writer
from stormline.components.host import Host
from stormline.components.outputs import broken_reason
from stormline.core.record import Origin
from stormline.core.split import Broken

RETRY_AFTER_MS = 1000


class DeadLetters:
    """The dead letters of one task. `count` have been confirmed by the broker."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._writer: Writer | None = None
        self._retries: list[tuple[int, Callable[[], None]]] = []
        self.count = 0
        self.waiting = 0
        self.trouble: str | None = None

    def send(
        self,
        origin: Origin,
        *,
        key: bytes | None,
        value: Any,
        reason: str,
        error: Exception | None,
        attempts: int,
        settled: Callable[[], None],
        component: str | None = None,
    ) -> None:
        """Send a record and call `settled` once it is safe. `value`: the bytes from Kafka, or the decoded record.
        `component`: who could not take it; None: the one whose task this is."""
        component = component or self._host.context.component
        topic = origin.partition.rpartition("/")[0].partition(":")[0] or component
        raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
        headers = [
            ("component", component.encode()),
            ("reason", reason.encode()),
            ("traceback", "".join(traceback.format_exception(error)).encode() if error is not None else b""),
            ("origin", str(origin).encode()),
            ("attempts", str(attempts).encode()),
        ]
        self.waiting += 1
        self._attempt(partial(self._produce, f"{topic}.dead", key or str(origin).encode(), raw, headers, settled))

    def set_aside(self, component: str, partition: str, broken: Broken, settled: Callable[[], None]) -> None:
        """Send a record on which the code of this component raised."""
        self.send(
            Origin(partition, broken.offset),
            key=None,
            value=broken.value,
            reason=broken_reason(component, broken.value, broken.error),
            error=broken.error,
            attempts=1,
            settled=settled,
            component=component,
        )

    def _attempt(self, produce: Callable[[], None]) -> None:
        if self._writer is None:
            self._writer = self._host.edges.writer(post=self._host.post)
        produce()

    def _produce(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        settled: Callable[[], None],
    ) -> None:
        assert self._writer is not None
        again = partial(self._produce, topic, key, value, headers, settled)
        self._writer.send(topic, key=key, value=value, headers=headers, done=partial(self._done, topic, settled, again))

    def _done(self, topic: str, settled: Callable[[], None], again: Callable[[], None], failure: str | None) -> None:
        if failure is not None:
            self.trouble = f"cannot write to {topic}: {failure}; trying again"
            self._host.report_error(self.trouble)
            self._retries.append((self._host.now_ms() + RETRY_AFTER_MS, again))
            return
        self.trouble = None
        self.count += 1
        self.waiting -= 1
        settled()

    @property
    def due_ms(self) -> int | None:
        """When the next one is to be tried again."""
        return min((due for due, _ in self._retries), default=None)

    def on_time(self, now_ms: int) -> None:
        """Try again what is due."""
        due = [again for due_ms, again in self._retries if due_ms <= now_ms]
        self._retries = [retry for retry in self._retries if retry[0] > now_ms]
        for again in due:
            again()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
