"""Who reads committed records sees whole transactions that were committed, in order, and nothing else."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import WAIT_S, wait_until
from tests.contracts.kafka.kafka_transaction import Transactional
from tests.contracts.kafka.kafka_wire import Wire

pytestmark = pytest.mark.timeout(600)
END = -1


def test_committed_transactions_are_read(client: Client, topic: str) -> None:
    """Their records come in order, with a gap in the offsets where each has its marker."""
    client.transact(topic, [b"a", b"b"], topic, commit=True)
    client.transact(topic, [b"c"], topic, commit=True)

    got = client.read(topic, 3, committed_only=True)

    assert [(row.offset, row.value) for row in got] == [(0, b"a"), (1, b"b"), (3, b"c")]
    assert client.bounds(topic) == (0, 5)


def test_aborted_transactions_are_hidden(client: Client, topic: str) -> None:
    """From who reads committed records; anyone else sees them. Markers are never seen."""
    client.transact(topic, [b"a"], topic, commit=True)
    client.transact(topic, [b"b", b"c"], topic, commit=False)
    client.transact(topic, [b"d"], topic, commit=True)

    committed = client.read(topic, 2, committed_only=True)
    every = client.read(topic, 4)

    assert [(row.offset, row.value) for row in committed] == [(0, b"a"), (5, b"d")]
    assert [(row.offset, row.value) for row in every] == [(0, b"a"), (2, b"b"), (3, b"c"), (5, b"d")]


def test_reading_may_begin_inside_an_aborted_transaction(client: Client, topic: str) -> None:
    """What is left of it stays hidden, also where its first record has been jumped over."""
    client.transact(topic, [b"%d" % i for i in range(10)], topic, commit=False)
    client.send(topic, [Sent(b"x")])

    (got,) = client.read(topic, 1, start=5, committed_only=True)

    assert (got.offset, got.value) == (11, b"x")


def test_committed_records_wait_for_an_open_transaction(wire: Wire, client: Client, topic: str) -> None:
    """Reading stops at the first record of a transaction that has not ended, also for what others wrote behind it."""
    producer = Transactional(wire, topic)
    client.send(topic, [Sent(b"before")])
    assert producer.add(topic) == {topic: 0}
    assert producer.produce(topic, 1, 2) == 0
    client.send(topic, [Sent(b"behind")])

    row = wire.fetch(topic, 0, committed_only=True)
    assert (row.high_watermark, row.last_stable_offset) == (4, 1)
    assert wire.offset(topic, END, committed_only=True).offset == 1
    assert wire.offset(topic, END).offset == 4
    assert wire.fetch(topic, 1, committed_only=True).records in (None, b"")
    assert [row.value for row in client.read(topic, 4)][0::3] == [b"before", b"behind"]

    assert producer.end(commit=True) == 0
    wait_until(lambda: wire.offset(topic, END, committed_only=True).offset == 5)
    assert [row.offset for row in client.read(topic, 4, committed_only=True)] == [0, 1, 2, 3]


def test_interleaved_transactions_are_told_apart(wire: Wire, client: Client, topic: str) -> None:
    """Of two at the same time in one partition, one is hidden and the other is seen."""
    good, bad = Transactional(wire, f"{topic}-good"), Transactional(wire, f"{topic}-bad")
    for producer in (good, bad):
        producer.add(topic)
    for producer in (good, bad, good, bad):
        assert producer.produce(topic, 1) == 0
    assert bad.end(commit=False) == 0
    assert good.end(commit=True) == 0
    wait_until(lambda: wire.offset(topic, END, committed_only=True).offset == 6)

    assert [row.offset for row in client.read(topic, 2, committed_only=True)] == [0, 2]
    aborted = wire.fetch(topic, 0, committed_only=True).aborted_transactions
    assert [(each.producer_id, each.first_offset) for each in aborted] == [(bad.id, 1)]
    assert not wire.fetch(topic, 0).aborted_transactions


def test_a_waiting_fetch_wakes_when_a_transaction_ends(kafka: str, wire: Wire, topic: str) -> None:
    """It gets the records long before its longest wait is over."""
    producer = Transactional(wire, topic)
    producer.add(topic)
    assert producer.produce(topic, 1) == 0
    consumer = KafkaConsumer(
        bootstrap_servers=kafka,
        fetch_max_wait_ms=15_000,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    assert consumer.poll(300) == {}

    assert producer.end(commit=True) == 0

    assert [row.offset for row in consumer.poll(10_000)[place]] == [0]
    consumer.close()


def test_offsets_are_committed_with_the_transaction(kafka: str, either: Client, topic: str) -> None:
    """And not at all if it is aborted."""
    group, place = f"group-of-{topic}", TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    producer = KafkaProducer(bootstrap_servers=kafka, transactional_id=topic, retry_backoff_ms=10)
    producer.init_transactions()
    committed = []
    for offset, end in ((5, producer.commit_transaction), (7, producer.abort_transaction)):
        producer.begin_transaction()
        producer.send(topic, b"x", partition=0)
        producer.send_offsets_to_transaction({place: OffsetAndMetadata(offset, "m", -1)}, consumer.group_metadata())
        end()
        wait_until(lambda: either.committed(group, topic) is not None)
        committed.append(either.committed(group, topic))
    producer.close(timeout=WAIT_S)
    consumer.close()

    assert committed == [(5, "m"), (5, "m")]


def test_offsets_of_an_open_transaction_are_unstable(wire: Wire, either: Client, topic: str) -> None:
    """Who asks for stable ones is told to ask again; who does not gets the old ones."""
    group = f"group-of-{topic}"
    either.commit(group, topic, 4, "")
    producer = Transactional(wire, topic)
    producer.add(topic)
    assert producer.add_offsets(group) == 0
    assert producer.commit_offset(group, topic, 9) == 0

    def asked(stable: bool) -> tuple[int, int]:
        topics = [{"name": topic, "partition_indexes": [0]}]
        answer = wire.ask("OffsetFetch", 7, group_id=group, topics=topics, require_stable=stable)
        row = answer.topics[0].partitions[0]
        return row.error_code, row.committed_offset

    assert asked(stable=True) == (88, -1)
    assert asked(stable=False) == (0, 4)
    assert producer.end(commit=True) == 0
    wait_until(lambda: asked(stable=True) == (0, 9))


def test_a_new_owner_fences_the_old_one(kafka: str, client: Client, topic: str) -> None:
    """Who takes a transactional id aborts what the last owner has open; that one can go on no more."""
    old = KafkaProducer(bootstrap_servers=kafka, transactional_id=topic, retry_backoff_ms=10)
    old.init_transactions()
    old.begin_transaction()
    old.send(topic, b"lost", partition=0)
    old.flush(WAIT_S)

    client.transact(topic, [b"new"], topic, commit=True)

    with pytest.raises(KafkaError):
        old.commit_transaction()
    old.close(timeout=1)
    assert [row.value for row in client.read(topic, 1, committed_only=True)] == [b"new"]


def test_transactions_can_be_listed_and_described(admin: KafkaAdminClient, wire: Wire, topic: str) -> None:
    """An operator sees who has a transaction open, and where."""
    producer = Transactional(wire, topic, timeout_ms=50_000)
    producer.add(topic)

    listed = {row.transactional_id: row for rows in admin.list_transactions().values() for row in rows}
    (described,) = wire.ask("DescribeTransactions", 0, transactional_ids=[topic]).transaction_states

    assert listed[topic].producer_id == producer.id
    assert (described.transaction_state, described.transaction_timeout_ms) == ("Ongoing", 50_000)
    assert [(row.topic, row.partitions) for row in described.topics] == [(topic, [0])]
    assert wire.ask("DescribeTransactions", 0, transactional_ids=["nobody"]).transaction_states[0].error_code == 105
    producer.end(commit=False)
