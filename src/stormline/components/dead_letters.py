"""Records that broke something, on their way to `<topic>.dead`: with reason, traceback and origin, at least once.

Those that came from no topic go to `<component>.dead`.

A record is settled only when the broker has confirmed it; until then its tuple or its offset waits.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from stormline.components.host import Host, Tuple
from stormline.components.outputs import broken_reason
from stormline.components.plain_tuples import NO_PARTITION
from stormline.components.producing import Producing
from stormline.core.record import Origin
from stormline.core.split import Broken
from stormline.core.topics import DEAD

CUTS = (10_000, 1_000, 100)
"""So many bytes of a header are kept, at the first refusal of a letter that is too large, the second, the third."""


class _Letter(NamedTuple):
    topic: str
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    cuts: tuple[int, ...]
    """What may still be tried."""

    def cut(self, refused: str) -> _Letter:
        """A smaller one: headers come on top of a record that filled a message. Its value stays where its origin is."""
        most, *cuts = self.cuts
        headers = [(name, _start(text, most)) for name, text in self.headers if name != "cut"]
        told = f"the value was left out, and headers end at {most} bytes: {refused}"
        return _Letter(self.topic, self.key[:most], None, [*headers, ("cut", _start(told.encode(), most))], tuple(cuts))


def _start(text: bytes, most: int) -> bytes:
    """Whole characters of UTF-8."""
    return text[:most].decode(errors="ignore").encode()


class DeadLetters:
    """The dead letters of one task. `count` have been confirmed by the broker."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._producing = Producing(host, create=True)
        self._settled: dict[object, list[Callable[[], None]]] = {}
        """What waits for each letter that is not confirmed, by what makes it the same letter."""
        self.count = 0
        self.waiting = 0

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
        raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
        same: object = object() if origin.partition == NO_PARTITION else (component, origin, raw)
        if same in self._settled:  # it came again: the tuples between the first and this one have timed out
            self._settled[same][1:] = [settled]
            return
        topic = origin.partition.rpartition("/")[0].partition(":")[0] or component
        headers = [
            ("component", component.encode()),
            ("reason", reason.encode()),
            ("traceback", "".join(traceback.format_exception(error)).encode() if error is not None else b""),
            ("origin", str(origin).encode()),
            ("attempts", str(attempts).encode()),
            ("app", str(self._host.context.conf["stormline.app"]).encode()),
        ]
        self.waiting += 1
        self._settled[same] = [settled]
        self._send(_Letter(f"{topic}{DEAD}", key or str(origin).encode(), raw, headers, CUTS), same)

    def set_aside(
        self, component: str, partition: str, broken: Broken, attempt: int, settled: Callable[[], None]
    ) -> None:
        """Send a record on which the code of this component raised, at this attempt."""
        self.send(
            Origin(partition, broken.offset),
            key=None,
            value=broken.value,
            reason=broken_reason(component, broken.value, broken.error),
            error=broken.error,
            attempts=attempt,
            settled=settled,
            component=component,
        )

    def unreadable(self, tup: Tuple, error: Exception) -> None:
        """Send a plain tuple that is no record, and ack it once it is safe."""
        self.send(
            Origin(NO_PARTITION, 0),
            key=None,
            value=list(tup.values),
            reason=f"{self._host.context.component}: {error}; the tuple came from {tup.component}/{tup.stream}",
            error=error,
            attempts=1,
            settled=lambda: self._host.ack(tup),
        )

    def _send(self, letter: _Letter, same: object) -> None:
        self._producing.send(
            letter.topic,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
            done=partial(self._done, letter, same),
            insist=not letter.cuts,
        )

    def _done(self, letter: _Letter, same: object, refused: str | None) -> None:
        if refused is None:
            self.count += 1
            self.waiting -= 1
            for settled in self._settled.pop(same):
                settled()
        else:
            self._send(letter.cut(refused), same)

    @property
    def trouble(self) -> str | None:
        return self._producing.trouble

    @property
    def due_ms(self) -> int | None:
        """When the next one is to be tried again."""
        return self._producing.due_ms

    def on_time(self, now_ms: int) -> None:
        """Try again what is due."""
        self._producing.on_time(now_ms)

    def close(self) -> None:
        self._producing.close()
