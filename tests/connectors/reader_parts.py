"""A reader with the thread of its component, for each client, and values to read."""

import pytest
from kafka_connector_parts import Inbox

from stormline.connectors.brokers import CLIENTS, Brokers
from stormline.connectors.kafka_reader import KafkaReader
from stormline.core.events import Assigned, Fetched


class Reading:
    """A reader and the thread of its component."""

    def __init__(self, client, address, topic, *, group="g", max_batch=10, task=(0, 1), start_ms=None):
        self.inbox = Inbox()
        self.reader = KafkaReader(
            Brokers(address, client),
            topics=topic,
            group=group,
            task_index=task[0],
            task_count=task[1],
            max_batch=max_batch,
            timestamps=False,
            start_ms=start_ms,
            on_event=self.inbox.events.append,
            post=self.inbox.post,
        )

    def started(self, at=None):
        """Assigned, and started at offset `at`, else at the beginning."""
        standings = self.inbox.next(Assigned).standings
        self.names = [standing.partition for standing in standings]
        self.reader.start({standing.partition: standing.beginning if at is None else at for standing in standings})
        return self

    def next_records(self, name):
        """Grant until records of the partition come."""
        while True:
            self.reader.want(frozenset([name]))
            if (event := self.inbox.next(Fetched)).offsets:
                return event


@pytest.fixture(params=CLIENTS)
def client_fixture(request):
    return request.param


@pytest.fixture
def reading_fixture(client):
    readings = []

    def make(*args, **more):
        readings.append(Reading(client, *args, **more))
        return readings[-1]

    yield make
    for one in readings:
        one.reader.close()


def some_values(count, first=0):
    return [b"value %d" % number for number in range(first, first + count)]
