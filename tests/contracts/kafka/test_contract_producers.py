"""An idempotent producer's batches are stored once each, in order."""

import pytest

from tests.contracts.kafka.kafka_clients import Client, Sent

pytestmark = pytest.mark.timeout(600)


def test_an_idempotent_producer_keeps_its_order(client: Client, topic: str) -> None:
    """Thousands of records of one producer, many batches in flight, are stored once each and in order."""
    sent = [Sent(b"%d" % i, partition=i % 2) for i in range(4000)]

    client.send(topic, sent, is_idempotent=True)

    for partition in (0, 1):
        got = client.read(topic, 2000, partition=partition)
        assert [row.value for row in got] == [b"%d" % i for i in range(partition, 4000, 2)]
