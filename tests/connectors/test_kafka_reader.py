"""The reader against the development broker, with each client: what it promises to a spout."""

import random
import re

import pytest
from faults.bad_network import BadNetwork
from kafka import KafkaAdminClient, KafkaProducer
from kafka_connector_parts import WAIT_S, Broker, Inbox, broker_fixture, produce, topic_fixture

from stormline.connectors.brokers import CLIENTS, Brokers
from stormline.connectors.columns import Columns
from stormline.connectors.kafka import delete_topic, ensure_topic
from stormline.connectors.kafka_clients import Address
from stormline.connectors.kafka_partition import Partition, own_addresses
from stormline.connectors.kafka_reader import KafkaReader
from stormline.core.events import Assigned, Committed, Fetched, Trouble

broker, topic = broker_fixture, topic_fixture


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
def client(request):
    return request.param


@pytest.fixture
def reading(client):
    readings = []

    def make(*args, **more):
        readings.append(Reading(client, *args, **more))
        return readings[-1]

    yield make
    for one in readings:
        one.reader.close()


def some_values(count, first=0):
    return [b"value %d" % number for number in range(first, first + count)]


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


@pytest.mark.parametrize("tasks", [1, 2, 3, 7])
def test_each_partition_belongs_to_one_task(tasks):
    """Whatever the number of tasks, they share the partitions out without rest, evenly."""
    shares = [own_addresses("purchases", range(12), task, tasks) for task in range(tasks)]
    assert sorted(address for share in shares for address in share) == [Address("purchases", p) for p in range(12)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_task_without_partitions_is_told_so(broker, topic, reading):
    """More tasks than partitions: an empty `Assigned` comes, and the reader can be closed."""
    ensure_topic(broker.brokers, topic, 1)
    found = [reading(broker.address, topic, task=(task, 2)).inbox.next(Assigned).standings for task in range(2)]
    assert sorted(map(len, found)) == [0, 1]


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


def test_a_position_or_log_end_that_moves_is_told_once():
    """Without records (markers, compaction, an open transaction) an empty `Fetched` comes, and uses up the grant."""
    partition = Partition("t/0", Address("t", 0), log_end=10)
    partition.seek(5)
    assert partition.next_event() is None
    partition.granted = True
    partition.moved(7, 10)
    assert partition.next_event() == Fetched("t/0", [], [], [], [], 7, 10)
    assert not partition.granted
    partition.moved(7, 12)
    assert partition.next_event() == Fetched("t/0", [], [], [], [], 7, 12)
    partition.moved(7, 11)  # the end of what is committed, asked after a fetch told the whole
    assert partition.next_event() is None


@pytest.mark.parametrize(("count", "size"), [(8_000, 1), (9, 1 << 20)])
def test_a_partition_is_full_by_records_or_by_bytes(count, size):
    """A few large records are as much as thousands of small ones; what was handed out makes room."""
    partition = Partition("t/0", Address("t", 0), log_end=count)
    partition.seek(0)
    for offset in range(count):
        assert not partition.is_full
        partition.add([Columns([offset], [0], [None], [bytes(size)])])
        if partition.is_full:
            break
    assert partition.is_full
    partition.granted = True
    assert partition.next_event() is not None
    assert not partition.is_full


def test_the_position_of_the_last_batch_passes_the_gap_behind_it():
    """Only the last one: behind the others are the records of the next."""
    partition = Partition("t/0", Address("t", 0), log_end=20)
    partition.seek(0)
    partition.add(Columns([offset], [0], [None], [b""]) for offset in (3, 8))
    partition.moved(15, 20)
    assert [partition.next_event().next_offset for _ in range(2)] == [4, 15]
    assert partition.next_event() is None


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


def test_an_offset_that_is_not_in_the_log_ends_the_reader(broker, topic, reading):
    """Fatal, with the partition, the offset, and the range that exists: going on would skip or repeat records."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(5))
    one = reading(broker.address, topic).started(at=77)
    trouble = one.inbox.next(Trouble)
    assert trouble.fatal
    assert f"{one.names[0]} at offset 77, but Kafka has 0 to 5" in trouble.message


def test_a_topic_made_anew_ends_the_reader(broker, topic, reading):
    """Its offsets begin again, so reading on would take new records for old ones, or old ones for new."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(5))
    one = reading(broker.address, topic).started()
    assert one.next_records(one.names[0]).next_offset == 5
    delete_topic(broker.brokers, topic)
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(9))
    one.inbox.until(lambda: any(isinstance(event, Trouble) and event.fatal for event in one.inbox.events))
    assert not any(isinstance(event, Fetched) and event.offsets for event in one.inbox.events)


def test_a_topic_made_anew_is_noticed_where_the_offset_exists_too(broker, topic, reading):
    """By its id; here nothing had been read, so the same offset is right in both."""
    ensure_topic(broker.brokers, topic, 1)
    one = reading(broker.address, topic).started()
    one.reader.want(frozenset(one.names))
    delete_topic(broker.brokers, topic)
    ensure_topic(broker.brokers, topic, 1)
    one.inbox.until(lambda: any(isinstance(event, Trouble) and event.fatal for event in one.inbox.events))
    assert f"topic {topic} was deleted and made anew" in one.inbox.events[-1].message


def test_a_broker_that_dies_is_waited_for(tmp_path, topic, reading):
    """Trouble once, naming the address; when the broker is back that is over, and no record is missing or doubled."""
    broker = Broker(tmp_path)
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(10))
    one = reading(broker.address, topic).started()
    [name] = one.names
    assert one.next_records(name).next_offset == 10
    one.reader.want(frozenset([name]))
    broker.kill()
    one.reader.commit({name: 10})
    trouble = one.inbox.next(Trouble)
    assert broker.address in trouble.message
    assert not trouble.fatal
    broker.start()
    produce(broker, topic, 0, some_values(5, 10))
    seen = []
    committed = None
    while len(seen) < 5 or committed is None:
        event = one.inbox.next(object)
        if isinstance(event, Fetched):
            seen += event.values
            one.reader.want(frozenset([name]))
        elif isinstance(event, Committed):
            committed = event.offsets
        else:
            assert not event.fatal, event.message
    assert seen == some_values(5, 10)
    assert committed == {name: 10}
    broker.kill()


def test_a_reader_may_be_started_before_its_broker(tmp_path, topic, reading):
    """Trouble names the address; `Assigned` follows when the broker is there."""
    broker = Broker(tmp_path)
    ensure_topic(broker.brokers, topic, 1)
    broker.kill()
    one = reading(broker.address, topic)
    assert broker.address in one.inbox.next(Trouble).message
    broker.start()
    assert one.inbox.next(Trouble) == Trouble(None)
    assert len(one.inbox.next(Assigned).standings) == 1
    broker.kill()


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


def test_a_group_that_has_begun_is_known_by_any_of_its_commits(broker, topic, reading):
    """So a partition without one is told from a group that has never run, also by a task without other partitions."""
    ensure_topic(broker.brokers, topic, 2)
    assert reading(broker.address, topic, task=(0, 2)).inbox.next(Assigned).begun == frozenset()
    one = reading(broker.address, topic).started()
    one.reader.commit({one.names[0]: 0})
    one.inbox.next(Committed)
    for task in range(2):
        assert reading(broker.address, topic, task=(task, 2)).inbox.next(Assigned).begun == {topic}


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
