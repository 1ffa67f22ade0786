"""What a reader is told that it has, with each client: where partitions stand, and topics that come later."""

import re

import pytest
from kafka import KafkaAdminClient
from kafka_connector_parts import broker_fixture, produce, topic_fixture
from reader_parts import client_fixture, reading_fixture, some_values

from stormline.connectors.kafka import ensure_topic
from stormline.core.events import Assigned, Trouble

broker, topic, client, reading = broker_fixture, topic_fixture, client_fixture, reading_fixture


def test_assigned_tells_where_each_partition_stands(broker, topic, reading):
    """Identity with the topic's id, no commit yet, where the log begins and ends, and how many partitions there are."""
    ensure_topic(broker.brokers, topic, 2)
    produce(broker, topic, 1, some_values(3))
    assigned = reading(broker.address, topic).inbox.next(Assigned)
    assert assigned.partition_count == 2
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    [description] = admin.describe_topics([topic])
    admin.close()
    assert description["topic_id"]
    names = [standing.partition for standing in assigned.standings]
    assert len({name.rpartition("/")[0] for name in names}) == 1
    assert [name.rpartition("/")[2] for name in names] == ["0", "1"]
    assert all(name.startswith(f"{topic}:") and len(name) == len(topic) + 1 + 22 + 2 for name in names)
    assert [standing[2:6] for standing in assigned.standings] == [(0, None, 0, 0), (1, None, 0, 3)]


def test_assigned_tells_where_the_records_of_a_time_begin(broker, topic, reading):
    """The first record with that timestamp or a later one; where there is none, the end."""
    ensure_topic(broker.brokers, topic, 3, configs={"retention.ms": "-1"})
    for partition, times in ((0, (1_000, 3_000, 2_000, 4_000)), (1, (1_000,))):
        for time_ms in times:
            produce(broker, topic, partition, [b"v"], timestamp_ms=time_ms)
    standings = reading(broker.address, topic, start_ms=2_000).inbox.next(Assigned).standings
    assert [(standing.log_end, standing.since) for standing in standings] == [(4, 1), (1, 1), (0, 0)]


def test_a_task_without_partitions_is_told_so(broker, topic, reading):
    """More tasks than partitions: an empty `Assigned` comes, and the reader can be closed."""
    ensure_topic(broker.brokers, topic, 1)
    found = [reading(broker.address, topic, task=(task, 2)).inbox.next(Assigned).standings for task in range(2)]
    assert sorted(map(len, found)) == [0, 1]


def test_a_missing_topic_is_named_and_found_once_it_exists(broker, topic, reading):
    """Trouble names the topic and what to do; the reader does not create it, and goes on when somebody has."""
    one = reading(broker.address, topic)
    trouble = one.inbox.next(Trouble)
    assert topic in trouble.message
    assert "Create it" in trouble.message
    assert not trouble.fatal
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    assert topic not in admin.list_topics()
    admin.close()
    ensure_topic(broker.brokers, topic, 1)
    assert one.inbox.next(Trouble) == Trouble(None)
    assert one.inbox.next(Assigned).partition_count == 1


def test_several_topics_are_read_by_one_reader(broker, topic, reading):
    """Of each topic what this task has; the number of partitions is that of all topics together."""
    other = f"{topic}-other"
    for name, partitions in ((topic, 2), (other, 1)):
        ensure_topic(broker.brokers, name, partitions)
        for number in range(partitions):
            produce(broker, name, number, [f"{name}/{number}".encode()])
    one = reading(broker.address, [topic, other])
    assigned = one.inbox.next(Assigned)
    assert assigned.partition_count == 3
    one.reader.start({standing.partition: 0 for standing in assigned.standings})
    places = {s.partition: f"{s.topic}/{s.number}".encode() for s in assigned.standings}
    assert {name: one.next_records(name).values[0] for name in places} == places


def test_a_reader_waits_for_all_topics_that_are_named(broker, topic, reading):
    """One of two is missing: it is named, and nothing is assigned before it is there."""
    ensure_topic(broker.brokers, topic, 1)
    one = reading(broker.address, [topic, f"{topic}-late"])
    assert f"topic {topic}-late does not exist" in one.inbox.next(Trouble).message
    ensure_topic(broker.brokers, f"{topic}-late", 1)
    assert one.inbox.next(Assigned).partition_count == 2


@pytest.mark.parametrize("task", [(0, 1), (0, 2), (1, 2)])
def test_partitions_that_come_later_are_told_and_read(broker, topic, reading, task):
    """
    To the task that gets them, with their number to each; what was read before goes on without a gap or a repetition.
    """
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(1))
    one = reading(broker.address, topic, task=task).started()
    if one.names:
        assert list(one.next_records(one.names[0]).values) == some_values(1)
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.create_partitions({topic: 2})
    admin.close()
    produce(broker, topic, 1, some_values(1, first=100))
    produce(broker, topic, 0, some_values(1, first=1))
    assigned = one.inbox.next(Assigned)
    assert assigned.partition_count == 2
    later = [standing.partition for standing in assigned.standings]
    one.reader.start(dict.fromkeys(later, 0))
    assert len(later) == (1 if task[1] == 1 or not one.names else 0)
    for name in later:
        assert list(one.next_records(name).values) == some_values(1, first=100)
    for name in one.names:
        assert list(one.next_records(name).values) == some_values(1, first=1)


def test_a_pattern_finds_topics_that_come_later(broker, topic, reading):
    """Those that it matches as a whole; a dead-letter topic is none of them."""
    one = reading(broker.address, re.compile(f"{topic}-.*"))
    assert f"no topic matches {topic}-.*" in one.inbox.next(Trouble).message
    for name in (f"x{topic}-no", f"{topic}-a.dead", f"{topic}-a"):
        ensure_topic(broker.brokers, name, 1)
    one.started()
    assert [name.partition(":")[0] for name in one.names] == [f"{topic}-a"]
    ensure_topic(broker.brokers, f"{topic}-b", 1)
    produce(broker, f"{topic}-b", 0, some_values(2))
    (standing,) = one.inbox.next(Assigned).standings
    assert (standing.topic, standing.log_end >= 0) == (f"{topic}-b", True)
    one.reader.start({standing.partition: 0})
    assert list(one.next_records(standing.partition).values) == some_values(2)


def test_how_many_partitions_each_topic_has_is_told_to_every_task(broker, topic, reading):
    """So a partition that has come since is told from those of the beginning, also by a task without any."""
    ensure_topic(broker.brokers, topic, 2)
    for task in range(3):
        assert reading(broker.address, topic, task=(task, 3)).inbox.next(Assigned).counts == {topic: 2}
