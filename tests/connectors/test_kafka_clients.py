"""What both clients of Kafka promise the reader, against the development broker."""

import builtins
import random
import re
import sys
import time
import uuid
from typing import NamedTuple

import pytest
from confluent_kafka import KafkaError, Producer
from kafka import KafkaAdminClient
from kafka_connector_parts import WAIT_S, broker_fixture, produce, topic_fixture

from stormline.connectors import brokers, kafka_confluent
from stormline.connectors.brokers import CLIENTS, CONFLUENT, Brokers
from stormline.connectors.kafka import ensure_topic
from stormline.connectors.kafka_clients import Address, KafkaFault, OutOfRange, consumer
from stormline.connectors.kafka_reader import ASK_MS
from stormline.core.errors import SettingsError

broker, topic = broker_fixture, topic_fixture


@pytest.fixture(params=CLIENTS)
def connected(request, broker):
    """Makes consumers, and closes them."""
    made = []

    def connect(*, group="g", max_batch=100, timestamps=False):
        made.append(consumer(Brokers(broker.address, request.param), group, max_batch=max_batch, timestamps=timestamps))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def read(client, read_so_far, until):
    """Poll until it is so; what came is added to address -> values."""
    deadline = time.monotonic() + WAIT_S
    while not until():
        assert time.monotonic() < deadline, {address: len(values) for address, values in read_so_far.items()}
        for address, pieces in client.poll(50).items():
            for columns in pieces:
                read_so_far[address] += columns.values
    return read_so_far


def some_values(count, first=0):
    return [b"value %d" % number for number in range(first, first + count)]


def test_what_is_known_of_topics(broker, topic, connected):
    """Id and partitions of those that exist; to ask for another one does not create it."""
    ensure_topic(broker.brokers, topic, 3)
    client = connected()
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    try:
        [described] = admin.describe_topics([topic])
        found = client.topics([topic, f"{topic}-not"])
        assert found.keys() == {topic}
        assert found[topic].numbers == {0, 1, 2}
        assert found[topic].id == uuid.UUID(described["topic_id"])
        assert topic in client.names()
        assert f"{topic}-not" not in admin.list_topics()
    finally:
        admin.close()


def test_a_topic_that_appears_is_seen(broker, topic, connected):
    """Within seconds, by a client that is reading another one."""
    ensure_topic(broker.brokers, topic, 1)
    client = connected()
    client.assign({Address(topic, 0): 0})
    new = f"{topic}-new"
    assert client.topics([new]) == {}
    ensure_topic(broker.brokers, new, 2)
    read(client, {}, lambda: new in client.topics([new]))
    assert client.topics([new])[new].numbers == {0, 1}


def test_partitions_can_be_added_while_others_are_read(broker, topic, connected):
    """Of several topics; what was fetched of the first ones, held or not, is neither lost nor repeated."""
    first, held, added = Address(f"{topic}-a", 0), Address(f"{topic}-b", 0), Address(f"{topic}-b", 1)
    ensure_topic(broker.brokers, first.topic, 1)
    ensure_topic(broker.brokers, held.topic, 2)
    for address in (first, held, added):
        produce(broker, *address, some_values(3_000))
    client = connected()
    client.assign({first: 0, held: 0})
    client.hold([held])
    found = {first: [], held: [], added: []}
    read(client, found, lambda: bool(found[first]))
    client.assign({added: 1_000})
    read(client, found, lambda: len(found[first]) == 3_000 and len(found[added]) == 2_000)
    assert found[held] == []
    client.hold([])
    read(client, found, lambda: len(found[held]) == 3_000)
    assert found == {first: some_values(3_000), held: some_values(3_000), added: some_values(2_000, 1_000)}
    assert [client.standing(address)[0] for address in found] == [3_000] * 3


@pytest.mark.parametrize("seed", range(3))
def test_what_is_held_is_served_later(broker, topic, connected, monkeypatch, seed):
    """Whatever is held when, also where so much waits that librdkafka is told to pause: each record once, in order."""
    monkeypatch.setattr(kafka_confluent, "KEPT_BYTES", 20_000)
    monkeypatch.setattr(kafka_confluent, "TAKE", 300)
    chance = random.Random(seed)
    ensure_topic(broker.brokers, topic, 3)
    addresses = [Address(topic, number) for number in range(3)]
    for address in addresses:
        produce(broker, *address, some_values(6_000))
    client = connected()
    client.assign(dict.fromkeys(addresses, 0))
    found = {address: [] for address in addresses}
    while any(len(values) < 6_000 for values in found.values()):
        held = chance.sample(addresses, chance.randint(0, 2))
        client.hold(held)
        there = {address: len(found[address]) for address in held}
        wanted = [address for address in addresses if address not in held and len(found[address]) < 6_000]
        before = sum(map(len, found.values()))
        read(client, found, lambda w=wanted, b=before: not w or sum(map(len, found.values())) > b)
        assert there == {address: len(found[address]) for address in held}
        assert [client.standing(address)[0] for address in addresses] == [len(found[each]) for each in addresses]
    assert all(values == some_values(6_000) for values in found.values())


def test_a_question_behind_a_fetch_that_waits_is_answered_in_time(broker, topic, connected):
    """A broker answers a connection in order. A question that begins with the fetch has to wait for all of it, and must
    not be taken for one that nobody answers."""
    ensure_topic(broker.brokers, topic, 1)
    client, place = connected(), Address(topic, 0)
    client.assign({place: 0})
    for number in range(3):
        produce(broker, topic, 0, some_values(1, number))
        read(client, {place: []}, lambda behind=number + 1: client.standing(place)[0] == behind)
        client.poll(0)  # the next fetch is on its way, and nothing comes
        assert client.ends([place], ASK_MS) == {place: number + 1}


def test_timestamps_keys_and_headers_come_when_somebody_looks(broker, topic, connected):
    """Also in pieces of pieces."""
    ensure_topic(broker.brokers, topic, 1)
    for number in range(5):
        more = {"key": b"%d" % number, "headers": [("h", b"%d" % number), ("h", b"again")]}
        produce(broker, topic, 0, [b"v"], timestamp_ms=1_700_000_000_000 + number, **more)
    produce(broker, topic, 0, [b"bare"])
    client = connected(max_batch=4)
    client.assign({Address(topic, 0): 0})
    pieces = []
    deadline = time.monotonic() + WAIT_S
    while sum(len(columns.offsets) for columns in pieces) < 6:
        assert time.monotonic() < deadline
        pieces += client.poll(50).get(Address(topic, 0), [])
    assert all(len(columns.offsets) <= 4 for columns in pieces)
    assert [key for columns in pieces for key in columns.keys] == [b"0", b"1", b"2", b"3", b"4", None]
    times = [time_ms for columns in pieces for time_ms in columns.timestamps_ms]
    assert times[:5] == [1_700_000_000_000 + number for number in range(5)]
    headers = [each for columns in pieces for each in columns.cut(0, 9).headers]
    assert headers[3:] == [(("h", b"3"), ("h", b"again")), (("h", b"4"), ("h", b"again")), ()]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_read(broker, topic, connected, codec):
    """Also a batch that is large when it is unpacked."""
    ensure_topic(broker.brokers, topic, 1)
    values = [b"%06d " % number * 300 for number in range(2_000)]
    producer = Producer(
        {
            "bootstrap.servers": broker.address,
            "compression.type": codec,
            "linger.ms": 500,
            "batch.num.messages": 2_000,
            "batch.size": 10_000_000,
        }
    )
    for value in values:
        producer.produce(topic, value, partition=0)
    producer.flush(WAIT_S)
    client = connected()
    client.assign({Address(topic, 0): 0})
    found = {Address(topic, 0): []}
    read(client, found, lambda: len(found[Address(topic, 0)]) == 2_000)
    assert found[Address(topic, 0)] == values


@pytest.mark.parametrize(("codec", "package"), [("snappy", "python-snappy"), ("lz4", "cramjam"), ("zstd", "cramjam")])
def test_a_codec_whose_package_is_missing_ends_the_reading(broker, topic, monkeypatch, codec, package):
    """With the name of the package, at each attempt anew, and without a record lost: the position stays."""
    ensure_topic(broker.brokers, topic, 1)
    producer = Producer({"bootstrap.servers": broker.address, "compression.type": codec})
    for number in range(100):
        producer.produce(topic, b"value %d" % (number % 3), partition=0)
    producer.flush(WAIT_S)
    original = builtins.__import__

    def without(name, *args):
        if name in ("snappy", "cramjam"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    client = consumer(broker.brokers, "g", max_batch=100, timestamps=False)
    try:
        client.assign({Address(topic, 0): 0})
        for _ in range(2):
            with pytest.raises(KafkaFault, match=f"compressed with {codec}.* pip install {package}$") as caught:
                read(client, {Address(topic, 0): []}, lambda: False)
            assert not caught.value.retriable
            assert client.standing(Address(topic, 0))[0] == 0
        monkeypatch.undo()
        found = {Address(topic, 0): []}
        read(client, found, lambda: len(found[Address(topic, 0)]) == 100)
    finally:
        client.close()


def test_a_position_that_is_not_in_the_log_is_named(broker, topic, connected):
    """The partition; others go on."""
    ensure_topic(broker.brokers, topic, 2)
    for number in range(2):
        produce(broker, topic, number, some_values(5))
    client = connected()
    client.assign({Address(topic, 0): 77, Address(topic, 1): 0})
    found = {Address(topic, 1): []}
    with pytest.raises(OutOfRange) as caught:
        read(client, found, lambda: False)
    assert list(caught.value.addresses) == [Address(topic, 0)]
    read(client, found, lambda: len(found[Address(topic, 1)]) == 5)


class Told(NamedTuple):
    """What librdkafka puts in the place of a record; it makes its own messages only."""

    topic_: str
    offset_: int

    topic = property(lambda self: lambda: self.topic_)
    offset = property(lambda self: lambda: self.offset_)
    partition = property(lambda self: lambda: 0)


@pytest.mark.parametrize(("offset", "is_lost"), [(-1001, True), (7, True), (1 << 60, False)])
def test_a_log_that_was_truncated_is_lost_and_an_offset_out_of_damaged_bytes_is_not(broker, topic, offset, is_lost):
    """librdkafka tells of a truncation (KIP-320) with no offset; where one is, it has to be that of the reader."""
    ensure_topic(broker.brokers, topic, 1)
    client = consumer(Brokers(broker.address, CONFLUENT), "g", max_batch=100, timestamps=False)
    client.assign({Address(topic, 0): 7})
    client._note(Told(topic, offset), KafkaError(KafkaError._AUTO_OFFSET_RESET))
    with pytest.raises(KafkaFault) as caught:
        client.poll(0)
    assert isinstance(caught.value, OutOfRange) == is_lost
    client.close()


def test_a_client_that_is_not_installed_is_told_before_anything_starts(monkeypatch):
    """What asks for it, and what to do; kafka-python needs no look."""
    monkeypatch.setattr(brokers, "find_spec", lambda name: None)
    to_do = re.escape(f"{sys.executable} -m pip install confluent-kafka")
    with pytest.raises(SettingsError, match=f'"kafka" of here asks for .*"confluent".*{to_do}'):
        Brokers("b:1", CONFLUENT).found_here('"kafka" of here')
    assert Brokers("b:1").found_here('"kafka"') == Brokers("b:1")


def test_brokers_travel_as_json(monkeypatch):
    """The addresses alone where there is nothing else to say."""
    for made, said in ((Brokers("b:1"), "b:1"), (Brokers("b:1", CONFLUENT), {"bootstrap": "b:1", "client": CONFLUENT})):
        assert made.conf() == said
        assert Brokers.of_conf(said) == made
    monkeypatch.setenv("WHERE", "b:2")
    assert Brokers("env:WHERE", CONFLUENT).found_here("x") == Brokers("b:2", CONFLUENT)
