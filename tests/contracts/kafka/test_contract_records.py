"""What is produced comes back as it was, however it was packed and acknowledged."""

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import (
    KafkaError,
)
from kafka.record.default_records import DefaultRecordBatchBuilder

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import WAIT_S
from tests.contracts.kafka.kafka_wire import Wire

pytestmark = pytest.mark.timeout(600)
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def test_records_come_back_as_they_were_sent(client: Client, topic: str) -> None:
    """Key, value, time and headers of a record survive; so do an empty value and a missing key."""
    sent = [Sent(b"v%d" % i, b"k%d" % i, 1000 + i, headers=(("h", b"1"), ("h", b"2"))) for i in range(50)]
    sent += [Sent(b"", None, 2000)]

    offsets = client.send(topic, sent)

    got = client.read(topic, 51)
    assert offsets == list(range(51))
    assert [(row.value, row.key, row.timestamp, row.headers) for row in got] == [
        (row.value, row.key, row.timestamp, row.headers) for row in sent
    ]
    assert [row.offset for row in got] == offsets


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_stored_and_served(client: Client, topic: str, codec: str) -> None:
    """Compressed records come back; a look-up by time inside their batch is exact, or early, but never too late.

    Early is for a server that has no library for the codec and answers the first offset of the batch.
    """
    sent = [Sent(b"value " * 20, b"%d" % i, 1000 + 10 * i, headers=(("h", b"x"),)) for i in range(100)]
    try:
        client.send(topic, sent, codec=codec)
    except RuntimeError as error:
        if "Libraries for" not in str(error):
            raise
        pytest.skip(f"kafka-python: {error}")

    got = client.read(topic, 60, start=40)

    assert [(row.offset, row.key, row.headers) for row in got[:60]] == [
        (i, b"%d" % i, (("h", b"x"),)) for i in range(40, 100)
    ]
    (found,) = client.offsets_at(topic, [1555])
    assert found == 56 or (codec not in ("none", "gzip") and found is not None and found < 56)


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_each_kind_of_acknowledgement_stores_all(client: Client, topic: str, acks: int) -> None:
    """Records are stored whether the producer waits for no, the leader's or all acknowledgements."""
    client.send(topic, [Sent(b"%d" % i) for i in range(30)], acks=acks)

    assert [row.value for row in client.read(topic, 30)] == [b"%d" % i for i in range(30)]


def test_a_large_message_fits(client: Client, topic: str) -> None:
    """A message of 900 kB passes, and does not keep the small one after it from being read."""
    client.send(topic, [Sent(b"a" * 900_000), Sent(b"b")])

    assert [len(row.value) for row in client.read(topic, 2)] == [900_000, 1]


def test_nothing_is_created_by_asking(kafka: str, admin: KafkaAdminClient) -> None:
    """Producing to a topic that does not exist fails; the topic still does not exist after it."""
    producer = KafkaProducer(bootstrap_servers=kafka, max_block_ms=300, allow_auto_create_topics=False)
    with pytest.raises(KafkaError):
        producer.send("never-created", b"x").get(WAIT_S)
    producer.close()

    assert "never-created" not in admin.list_topics()


def test_what_is_not_there_stays_not_there(wire: Wire, client: Client, topic: str) -> None:
    """A tombstone has no value, which is not an empty one; so with keys and with the values of headers."""
    rows: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
        (b"k", None, []), (b"", b"", [("h", None), ("h", b"")]), (None, b"v", []),
    ]  # fmt: skip
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    for offset, (key, value, headers) in enumerate(rows):
        builder.append(offset, 1, key, value, headers)
    assert wire.produce(topic, bytes(builder.build())).error_code == 0

    got = client.read(topic, 3)

    assert [(row.key, row.value, list(row.headers)) for row in got] == rows


def test_times_of_records_are_kept(client: Client, topic: str) -> None:
    """The first second, today, and times that go back."""
    times = [1, 1_600_000_000_000, 5, 4]

    client.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in times])

    assert [row.timestamp for row in client.read(topic, 4)] == times


def test_bytes_of_every_value_pass(client: Client, topic: str) -> None:
    """Keys, values and headers are bytes, whatever they look like."""
    every = bytes(range(256)) * 4

    client.send(topic, [Sent(every, every, headers=(("h" * 300, every),))])

    (got,) = client.read(topic, 1)
    assert (got.value, got.key, got.headers) == (every, every, (("h" * 300, every),))


def test_one_codec_after_another(client: Client, topic: str) -> None:
    """A partition may hold batches of all codecs side by side."""
    for number, codec in enumerate(CODECS):
        client.send(topic, [Sent(b"%d" % number)], codec=codec)

    assert [row.value for row in client.read(topic, 5)] == [b"0", b"1", b"2", b"3", b"4"]
