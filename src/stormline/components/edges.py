"""The outside world as components see it: Kafka in, Kafka out, and the store. Real ones are in `connectors`, made to
measure for tests in `testing`.

Calls return at once; what comes of them is handed to a callback on the component's own thread (connectors do their
input and output on threads of their own). No callback is called from within the call that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from stormline.core.events import ReaderEvent, Unsent
from stormline.core.requests import Reply, Request
from stormline.core.topics import Topics


class Reader(Protocol):
    """Reads this task's partitions: partition p of a topic goes to task (crc32(topic) + p) mod tasks.

    The first event is `Assigned`, once all topics that are named exist, or one that the pattern matches. It comes again
    with partitions that are found later, and when their number over all tasks has changed.
    """

    def start(self, positions: Mapping[str, int]) -> None:
        """Seek to these offsets, of the partitions of one `Assigned`; nothing is fetched until `want` names them."""

    def want(self, partitions: frozenset[str]) -> None:
        """Grant one further `Fetched`, of at most `max_batch` records, to each partition named that has no grant yet.

        A `Fetched` uses up the grant of its partition, so call this again for each event that came; thus no more than
        one batch of a partition is ever on its way. A grant stands until it is used: not naming a partition takes none
        back.
        """

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Commit under the group id, without waiting; answered by `Committed` or `Trouble`."""

    def close(self) -> None:
        """Stop; commits that were asked for are finished first, for at most a few seconds."""


class Writer(Protocol):
    """Produces to Kafka."""

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[Unsent | None], None],
    ) -> None:
        """`done(None)` once the broker has confirmed; else with the reason, and the record may be sent again."""

    def close(self) -> None: ...


class Store(Protocol):
    """Keeps slots; see `core.requests`."""

    def submit(self, requests: Sequence[Request], done: Callable[[list[Reply]], None]) -> None:
        """Carry the requests out, in order, as one pipeline; one reply each. A lost connection answers `Unknown`."""

    def close(self) -> None: ...


class Edges(Protocol):
    """Makes the edges of one task. `post` brings callbacks onto the task's thread."""

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
        on_event: Callable[[ReaderEvent], None],
        post: Callable[[Callable[[], None]], None],
    ) -> Reader:
        """`timestamps`: they will be looked at. `start_ms`: a time whose first offsets `Assigned` is to tell."""

    def writer(self, *, create: bool, post: Callable[[Callable[[], None]], None]) -> Writer:
        """`create`: a topic that does not exist is made on first use, with one partition."""

    def store(self, *, app: str, post: Callable[[Callable[[], None]], None]) -> Store: ...

    def close(self) -> None:
        """What the tasks share; after all of them are closed."""
