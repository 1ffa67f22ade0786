"""The reader against the development broker, with each client: what it reads and commits."""

import random

import pytest
from faults.bad_network import BadNetwork
from kafka import KafkaProducer
from kafka_connector_parts import WAIT_S, broker_fixture, produce, topic_fixture
from reader_parts import client_fixture, reading_fixture, some_values

from stormline.connectors.kafka import ensure_topic
from stormline.core.events import Assigned, Committed, Fetched, Trouble

broker, topic, client, reading = broker_fixture, topic_fixture, client_fixture, reading_fixture


@pytest.mark.parametrize("seed", range(4))
def test_every_record_comes_once_in_order_whatever_is_wanted_when(broker, topic, reading, seed):
    """
    Four partitions of different length, batches granted one by one in a random order: every partition is read to its
    end, without a gap or a repetition, in batches of at most `max_batch`. (kafka-python alone stalls here: it forgets
    what it has of a paused partition.)
    """
    chance = random.Random(seed)
    ensure_topic(broker.brokers, topic, 4)
    sizes = [0, 17, 1_000, 12_345]
    producer = KafkaProducer(bootstrap_servers=broker.address, batch_size=4_000 + seed * 50_000)
    for partition, size in enumerate(sizes):
        for value in some_values(size):
            producer.send(topic, value=value, key=b"%d" % partition, partition=partition, timestamp_ms=partition)
    producer.flush(WAIT_S)
    producer.close()
    one = reading(broker.address, topic, max_batch=100).started()
    left = dict(zip(one.names, sizes, strict=True))
    read = {name: [] for name in one.names}
    while any(len(read[name]) < size for name, size in left.items()):
        open_ones = [name for name, size in left.items() if len(read[name]) < size]
        wanted = frozenset(chance.sample(open_ones, chance.randint(1, len(open_ones))))
        one.reader.want(wanted)
        event = one.inbox.next(Fetched)
        number = int(event.partition.rpartition("/")[2])
        assert len(event.offsets) <= 100
        assert set(event.timestamps_ms) <= {number}
        assert set(event.keys) <= {b"%d" % number}
        assert list(event.values) == some_values(len(event.offsets), len(read[event.partition]))
        read[event.partition] += event.offsets
        assert event.next_offset == len(read[event.partition])
        assert event.log_end == sizes[number]
    assert list(read.values()) == [list(range(size)) for size in sizes]


def test_nothing_comes_without_a_grant_and_one_batch_for_each(broker, topic, reading):
    """A partition that is not wanted stays silent while the other one is read; a grant brings one `Fetched`."""
    ensure_topic(broker.brokers, topic, 2)
    for partition in range(2):
        produce(broker, topic, partition, some_values(50))
    one = reading(broker.address, topic, max_batch=10).started()
    first, second = one.names
    for expected in range(10, 60, 10):
        one.reader.want(frozenset([second]))
        one.reader.want(frozenset([second]))  # has its grant
        event = one.inbox.next(Fetched)
        assert (event.partition, event.next_offset) == (second, expected)
    assert one.inbox.waiting == 0
    assert one.next_records(first).next_offset == 10


def test_a_batch_on_its_way_keeps_the_grant(broker, topic, reading):
    """While a `Fetched` waits for the component's thread, wanting its partition again brings no second one."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(50))
    one = reading(broker.address, topic, max_batch=10).started()
    one.reader.want(frozenset(one.names))
    held = one.inbox.hold()
    one.reader.want(frozenset(one.names))
    one.reader.commit({one.names[0]: 0})  # obeyed after the grant, so its answer comes after what that brings
    assert one.inbox.next(object) == Committed({one.names[0]: 0})
    held()
    assert one.inbox.next(Fetched).next_offset == 10
    assert one.next_records(one.names[0]).next_offset == 20


def test_a_partition_without_news_is_silent(broker, topic, reading):
    """A grant is kept until there is something to tell; then the records come."""
    ensure_topic(broker.brokers, topic, 1)
    one = reading(broker.address, topic).started()
    one.reader.want(frozenset(one.names))
    produce(broker, topic, 0, some_values(1))
    event = one.next_records(one.names[0])
    assert (event.offsets, event.next_offset, event.log_end) == ([0], 1, 1)
    assert one.inbox.waiting == 0


def test_the_log_end_is_known_while_a_partition_is_behind(broker, topic, reading):
    """Records that arrive while the spout takes nothing still show as lag, in the next `Fetched`."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(20))
    one = reading(broker.address, topic, max_batch=10).started()
    assert one.next_records(one.names[0]).log_end == 20
    produce(broker, topic, 0, some_values(500))
    while (event := one.next_records(one.names[0])).next_offset < 520:
        pass
    assert event.log_end == 520


def test_commits_are_kept_for_the_next_reader(broker, topic, reading):
    """`Committed` names the offsets; a new reader of the group is told them; one of another group is not."""
    ensure_topic(broker.brokers, topic, 2)
    produce(broker, topic, 0, some_values(5))
    one = reading(broker.address, topic).started()
    one.reader.commit({one.names[0]: 3})
    assert one.inbox.next(Committed) == Committed({one.names[0]: 3})
    again = reading(broker.address, topic).inbox.next(Assigned)
    assert [standing.committed for standing in again.standings] == [3, None]
    other = reading(broker.address, topic, group="other").inbox.next(Assigned)
    assert [standing.committed for standing in other.standings] == [None, None]


def test_closing_finishes_the_commits_and_is_silent_after_it(broker, topic, reading):
    """A commit asked for just before `close` is in Kafka when it returns; no event is handed over any more."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(5))
    one = reading(broker.address, topic).started()
    one.reader.want(frozenset(one.names))
    one.reader.commit({one.names[0]: 4})
    one.reader.close()
    one.inbox.until(lambda: one.inbox.waiting == 0)
    assert one.inbox.events == []
    again = reading(broker.address, topic).inbox.next(Assigned)
    assert again.standings[0].committed == 4


def test_a_slow_spout_keeps_its_connections(broker, topic, reading):
    """
    While nothing is wanted the reader goes on asking where the log ends, over the connections that it has; what is
    wanted then is there at once, without a gap.
    """
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(20_000))
    network = BadNetwork(broker.port, seed=1)
    try:
        one = reading(network.address, topic, max_batch=500).started()
        (name,) = one.names
        first = one.next_records(name)
        network.wait_for_requests(20)
        before = network.connections
        network.wait_for_requests(3)
        read = list(first.values)
        while len(read) < 20_000:
            read += one.next_records(name).values
        assert read == some_values(20_000)
        assert network.connections == before
        assert not [event for event in one.inbox.events if isinstance(event, Trouble)]
    finally:
        network.close()
