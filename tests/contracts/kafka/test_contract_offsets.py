"""Where a partition begins and ends, what lies at a time, and what is out of range."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, OffsetSpec, TopicPartition
from kafka.errors import (
    OffsetOutOfRangeError,
)

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import WAIT_S
from tests.contracts.kafka.kafka_wire import Wire

pytestmark = pytest.mark.timeout(600)
UNKNOWN_TOPIC = 3


def test_bounds_are_the_first_and_the_next_offset(client: Client, topic: str) -> None:
    """The end is one past the last record, also when one batch holds many; partitions do not mix."""
    assert client.bounds(topic) == (0, 0)

    client.send(topic, [Sent(b"x")] * 70)

    assert client.bounds(topic) == (0, 70)
    assert client.bounds(topic, partition=1) == (0, 0)


def test_time_finds_the_first_record_not_older(client: Client, topic: str) -> None:
    """The earliest offset with a time at or after the asked one, times out of order too; nothing after the last."""
    client.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (100, 300, 200, 400, 350)])
    client.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (310, 500)])

    found = client.offsets_at(topic, (1, 100, 101, 300, 301, 400, 401, 500, 501))

    assert found == [0, 0, 1, 1, 3, 3, 6, 6, None]


def test_the_newest_record_can_be_looked_up(admin: KafkaAdminClient, either: Client, topic: str) -> None:
    """The offset of the record with the highest time is known, wherever in the log it is."""
    either.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (5, 9, 3)])
    place = TopicPartition(topic, 0)

    (found,) = admin.list_partition_offsets({place: OffsetSpec.MAX_TIMESTAMP}).values()

    assert (found.offset, found.timestamp) == (1, 9)


def test_an_offset_out_of_range_is_an_error(client: Client, topic: str) -> None:
    """Without a reset policy, reading past the end fails at once instead of waiting for ever."""
    client.send(topic, [Sent(b"x")] * 3)

    with pytest.raises(Exception, match=r"(?i)out.?of.?range") as caught:
        client.read(topic, 1, start=1000)
    assert not isinstance(caught.value, AssertionError)


def test_an_offset_out_of_range_resets_to_the_earliest(client: Client, topic: str) -> None:
    """With the policy earliest, reading goes on at the first record there is."""
    client.send(topic, [Sent(b"%d" % i) for i in range(3)])

    assert client.read(topic, 3, start=1000, reset="earliest")[0].value == b"0"


def test_deleted_records_move_the_first_offset(admin: KafkaAdminClient, client: Client, topic: str) -> None:
    """After a deletion up to an offset reading begins there, and an earlier offset is out of range."""
    client.send(topic, [Sent(b"%d" % i) for i in range(10)])
    place = TopicPartition(topic, 0)

    admin.delete_records({place: 4})

    assert client.bounds(topic) == (4, 10)
    assert client.read(topic, 6, start=None, reset="earliest")[0].value == b"4"
    with pytest.raises(Exception, match=r"(?i)out.?of.?range"):
        client.read(topic, 1, start=0)


def test_an_out_of_range_read_has_its_own_error(kafka: str, either: Client, topic: str) -> None:
    """kafka-python names the partition and the offset, so that a spout can tell what was lost."""
    either.send(topic, [Sent(b"x")])
    consumer = KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="none")
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek(place, 99)

    with pytest.raises(OffsetOutOfRangeError) as caught:
        consumer.poll(WAIT_S * 1000)

    assert caught.value.args[0] == {place: 99}
    consumer.close()


def test_times_are_looked_up_past_what_was_deleted(admin: KafkaAdminClient, client: Client, topic: str) -> None:
    """A record that was deleted is no answer to a look-up by time."""
    client.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (100, 200, 300)])

    admin.delete_records({TopicPartition(topic, 0): 2})

    assert client.offsets_at(topic, (1, 300, 301)) == [2, 2, None]


def test_nothing_lies_in_an_empty_partition(wire: Wire, topic: str) -> None:
    """It begins and ends at 0, and no time and no newest record is found."""
    found = [wire.offset(topic, timestamp) for timestamp in (-1, -2, -3, 0, 1000)]

    assert [(row.error_code, row.offset) for row in found] == [(0, 0), (0, 0), (0, -1), (0, -1), (0, -1)]


def test_offsets_of_what_is_not_there_are_an_error(wire: Wire, topic: str) -> None:
    """A partition too many, a topic that does not exist."""
    assert wire.offset(topic, -1, partition=2).error_code == UNKNOWN_TOPIC
    assert wire.offset(f"{topic}-never", -1).error_code == UNKNOWN_TOPIC
