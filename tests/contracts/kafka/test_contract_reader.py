"""What our own reader makes of transactions: a spout gets what was committed, and knows how far it has come."""

import random
from collections.abc import Iterator

import pytest

from stormline.connectors.brokers import CLIENTS
from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_reading import Reading
from tests.contracts.kafka.kafka_transaction import Transactional
from tests.contracts.kafka.kafka_wire import Wire

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=CLIENTS)
def reading(request: pytest.FixtureRequest, kafka: str, topic: str) -> Iterator[Reading]:
    reading = Reading(request.param, kafka, topic)
    yield reading
    reading.reader.close()


def test_only_what_was_committed_reaches_a_spout(reading: Reading, either: Client, topic: str) -> None:
    """And its position passes what was aborted, and the markers, up to the end: all of it can be committed."""
    either.transact(topic, [b"a", b"b"], topic, commit=True)  # 0, 1, marker 2
    either.transact(topic, [b"c"], topic, commit=False)  # 3, marker 4
    either.send(topic, [Sent(b"d")])  # 5
    either.transact(topic, [b"e", b"f"], topic, commit=False)  # 6, 7, marker 8

    reading.until(9)

    assert reading.offsets == [0, 1, 5]
    assert reading.troubles == []


def test_an_open_transaction_holds_a_spout_back(reading: Reading, wire: Wire, either: Client, topic: str) -> None:
    """Nothing behind it comes before it ends; then all of it does, in order."""
    producer = Transactional(wire, topic)
    producer.add(topic)
    either.send(topic, [Sent(b"before")])
    assert producer.produce(topic, 1) == 0
    either.send(topic, [Sent(b"behind")])
    reading.until(1)
    assert reading.offsets == [0]

    assert producer.end(commit=True) == 0

    assert reading.until(4).offsets == [0, 1, 2]


@pytest.mark.parametrize("seed", range(2))
def test_any_history_of_transactions_is_read_as_it_ended(reading: Reading, wire: Wire, topic: str, seed: int) -> None:
    """Three producers at once, records and ends at random: the offsets that come are those that were committed."""
    chance = random.Random(seed)
    producers = [Transactional(wire, f"{topic}-{number}") for number in range(3)]
    written: dict[int, list[int]] = {}
    committed: list[int] = []
    for _ in range(60):
        number = chance.randrange(3)
        producer = producers[number]
        if number not in written:
            assert producer.add(topic) == {topic: 0}
            written[number] = []
        if chance.random() < 0.7:
            count = chance.randint(1, 4)
            answer = wire.produce(topic, producer.batch(*[1] * count), name=producer.name)
            assert answer.error_code == 0
            written[number] += range(answer.base_offset, answer.base_offset + count)
        else:
            commit = chance.random() < 0.5
            assert producer.end(commit=commit) == 0
            committed += written.pop(number) if commit else []
            written.pop(number, None)
    for number, offsets in written.items():
        assert producers[number].end(commit=True) == 0
        committed += offsets

    # Kafka writes the markers after its answer, one to each partition.
    wait_until(lambda: wire.offset(topic, -1, committed_only=True).offset == wire.offset(topic, -1).offset)
    assert reading.until(wire.offset(topic, -1).offset).offsets == sorted(committed)
