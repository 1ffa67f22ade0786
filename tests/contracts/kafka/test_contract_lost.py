"""What our reader makes of records that were deleted before it came to them, and of bytes that are damaged on their
way: it stops and says what is lost, or fetches again; it never jumps."""

from collections.abc import Callable, Iterator

import pytest
from faults.bad_network import BadNetwork
from kafka import KafkaAdminClient, TopicPartition

from stormline.components.start import check_committed
from stormline.connectors.brokers import CLIENTS, Brokers
from stormline.connectors.kafka import delete_topic, ensure_topic
from stormline.core.errors import StateError
from stormline.core.events import Committed, Fetched, Trouble
from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_reading import Reading

pytestmark = pytest.mark.timeout(600)
PORTIONS, PORTION = 8, 300
Open = Callable[..., Reading]


@pytest.fixture(params=CLIENTS)
def opened(request: pytest.FixtureRequest, kafka: str) -> Iterator[Open]:
    """Makes readings, with either client: of a topic, from an offset on, perhaps by another way."""
    readings: list[Reading] = []

    def make(topic: str, at: int | None = None, by: str = kafka) -> Reading:
        readings.append(Reading(request.param, by, topic, at))
        return readings[-1]

    yield make
    for reading in readings:
        reading.reader.close()


def fatal(reading: Reading) -> str:
    """What ends the reader. No record comes before it."""
    while True:
        event = reading.inbox.next(Trouble | Fetched)
        if isinstance(event, Fetched):
            assert not event.offsets
        elif event.fatal:
            return str(event.message)


def test_a_committed_offset_that_retention_has_passed_is_told(
    opened: Open, admin: KafkaAdminClient, either: Client, topic: str
) -> None:
    """With the range that is lost, before anything is read."""
    either.send(topic, [Sent(b"x")] * 10)
    before = opened(topic)
    before.reader.commit({before.name: 3})
    before.inbox.next(Committed)
    admin.delete_records({TopicPartition(topic, 0): 5})

    after = opened(topic)

    lost = "the 2 offsets from 3 to 4 were deleted before they were read"
    with pytest.raises(StateError, match=f"offset 3 .* is committed, but the topic holds 5 to 10: {lost}"):
        check_committed("lines", after.assigned)


def test_records_that_are_deleted_before_they_are_read_end_the_reader(
    opened: Open, admin: KafkaAdminClient, either: Client, topic: str
) -> None:
    """With where it stood, and what there is."""
    either.send(topic, [Sent(b"x")] * 10)
    admin.delete_records({TopicPartition(topic, 0): 5})

    reading = opened(topic, at=3)

    assert f"{reading.name} at offset 3, but Kafka has 5 to 10" in fatal(reading)


@pytest.mark.parametrize("count", [0, 5], ids=["unread", "read"])
def test_a_topic_that_is_made_anew_ends_the_reader(
    opened: Open, kafka: str, either: Client, topic: str, count: int
) -> None:
    """Also where the offset at which it stands is there again; of the new topic nothing comes."""
    either.send(topic, [Sent(b"old")] * count)
    reading = opened(topic).until(count)
    delete_topic(Brokers(kafka), topic)
    ensure_topic(Brokers(kafka), topic, 2)
    either.send(topic, [Sent(b"new")] * count)

    assert topic in fatal(reading)
    assert opened(topic).name != reading.name


@pytest.mark.parametrize("seed", range(2))
def test_what_is_damaged_on_its_way_is_fetched_again(
    opened: Open, kafka: str, either: Client, topic: str, seed: int
) -> None:
    """Whatever a client makes of the bytes behind: each record comes once, in order, as it was sent."""
    values = [b"%d marked" % number * 50 for number in range(PORTIONS * PORTION)]
    network = BadNetwork(int(kafka.rpartition(":")[2]), seed=seed, marker=b"marked", faults=["wrong byte"])
    try:
        reading = opened(topic, by=network.address)
        network.begin()
        for first in range(0, len(values), PORTION):
            either.send(topic, [Sent(value) for value in values[first : first + PORTION]])
            reading.until(first + PORTION)
    finally:
        network.close()

    assert reading.values == values
    assert network.met["wrong byte"] >= 3, network.met
