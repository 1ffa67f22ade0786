"""Our own reader on partition 0 of a topic, and the thread of its component."""

from collections.abc import Iterator

from connectors.kafka_connector_parts import Inbox

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka_reader import KafkaReader
from stormline.core.events import Assigned, Fetched, ReaderEvent, Trouble


class Reading:
    """From the offset `at` on, or from the first record. `library` is the client of Kafka that it uses; `offsets` and
    `values` are those that have come."""

    def __init__(self, library: str, bootstrap: str, topic: str, at: int | None = None) -> None:
        self.inbox = Inbox()
        self.offsets: list[int] = []
        self.values: list[bytes | None] = []
        self.next_offset = 0
        self.troubles: list[Trouble] = []
        self.reader = KafkaReader(
            Brokers(bootstrap, library),
            topics=topic,
            group=f"group-of-{topic}",
            task_index=0,
            task_count=1,
            max_batch=3,
            timestamps=False,
            on_event=self.inbox.events.append,
            post=self.inbox.post,
        )
        self.assigned = self.inbox.next(Assigned)
        standings = self.assigned.standings
        (self.name,) = (each.partition for each in standings if each.number == 0)
        self.reader.start({each.partition: each.beginning if at is None else at for each in standings})
        self._want()

    def _want(self) -> None:
        self.reader.want(frozenset([self.name]))

    def taken(self) -> Iterator[ReaderEvent]:
        """What has come since the last time."""
        while self.inbox.events:
            event = self.inbox.events.pop(0)
            assert not (isinstance(event, Trouble) and event.fatal), event
            yield event

    def until(self, next_offset: int) -> "Reading":
        """Until the position is that one."""

        def is_there() -> bool:
            for event in self.taken():
                if isinstance(event, Trouble):
                    self.troubles.append(event)
                if isinstance(event, Fetched):
                    self.offsets += event.offsets
                    self.values += event.values
                    self.next_offset = event.next_offset
                    self._want()
            return self.next_offset == next_offset

        self.inbox.until(is_there)
        return self
