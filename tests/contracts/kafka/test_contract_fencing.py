"""What a transactional producer may not do, and how it is told, request by request."""

import pytest

from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_transaction import Transactional
from tests.contracts.kafka.kafka_wire import Wire

pytestmark = pytest.mark.timeout(600)
UNKNOWN_TOPIC, INVALID_REQUEST, INVALID_EPOCH, INVALID_TXN_STATE, UNKNOWN_PRODUCER = 3, 42, 47, 48, 49
BAD_TIMEOUT, NOT_ATTEMPTED, FENCED = 50, 55, 90


def test_the_epoch_rises_with_each_owner(wire: Wire, topic: str) -> None:
    """The producer id stays, and the old epoch is refused by every request."""
    old = Transactional(wire, topic)
    new = Transactional(wire, topic)

    assert (new.id, new.epoch) == (old.id, old.epoch + 1)
    assert old.add(topic) == {topic: FENCED}
    assert old.add_offsets("g") == FENCED
    assert old.end(commit=True) == FENCED
    new.add(topic)
    assert old.produce(topic, 1) == INVALID_EPOCH


def test_a_strange_producer_is_refused(wire: Wire, topic: str) -> None:
    """A producer id that is not the transactional id's own, or an id nobody has, is no fenced one."""
    producer = Transactional(wire, topic)
    producer.id += 1_000_000
    assert producer.add(topic) == {topic: UNKNOWN_PRODUCER}

    producer.name = f"{topic}-never"
    assert producer.end(commit=True) == UNKNOWN_PRODUCER


def test_only_partitions_of_the_transaction_take_its_records(wire: Wire, topic: str) -> None:
    """A transactional batch for a partition that was not added is refused, and nothing is stored."""
    producer = Transactional(wire, topic)

    assert producer.produce(topic, 1) == INVALID_TXN_STATE
    assert wire.offset(topic, -1).offset == 0


def test_an_unknown_partition_keeps_the_others_out(wire: Wire, topic: str) -> None:
    """All partitions of a request are added, or none."""
    producer = Transactional(wire, topic)

    codes = producer.add(topic, f"{topic}-never")

    assert codes == {topic: NOT_ATTEMPTED, f"{topic}-never": UNKNOWN_TOPIC}


def test_an_end_may_be_asked_for_twice(wire: Wire, topic: str) -> None:
    """A producer whose answer was lost asks again; the other end is refused, and so is one of nothing."""
    producer = Transactional(wire, topic)
    assert producer.end(commit=True) == INVALID_TXN_STATE
    for commit in (True, False):
        producer.add(topic)
        assert producer.produce(topic, 1) == 0

        assert producer.end(commit=commit) == 0
        assert producer.end(commit=commit) == 0
        assert producer.end(commit=not commit) == INVALID_TXN_STATE


def test_a_time_limit_that_cannot_be_is_refused(wire: Wire, topic: str) -> None:
    """A transaction may take 15 minutes; none, or no name, is a mistake."""

    def asked(name: str, timeout_ms: int) -> int:
        body = {"transactional_id": name, "transaction_timeout_ms": timeout_ms}
        return int(wire.ask("InitProducerId", 4, **body, producer_id=-1, producer_epoch=-1).error_code)

    assert asked(topic, 900_001) == BAD_TIMEOUT
    assert asked(topic, 0) == BAD_TIMEOUT
    assert asked("", 1000) == INVALID_REQUEST


def test_a_transaction_over_its_time_is_aborted(wire: Wire, topic: str) -> None:
    """By the broker, which fences its producer: nobody waits for one that has died."""
    producer = Transactional(wire, topic, timeout_ms=2_000)
    producer.add(topic)
    assert producer.produce(topic, 1) == 0

    wait_until(lambda: wire.offset(topic, -1, committed_only=True).offset == 2)

    assert producer.end(commit=True) == FENCED
    assert len(wire.fetch(topic, 0, committed_only=True).aborted_transactions) == 1


def test_a_producer_may_ask_for_its_next_epoch(wire: Wire, topic: str) -> None:
    """After an error it names the epoch it had (KIP-360); asked twice, the answer is the same; an old one is fenced."""
    producer = Transactional(wire, topic)

    def asked(epoch: int) -> tuple[int, int]:
        answer = wire.ask(
            "InitProducerId", 4, transactional_id=topic, transaction_timeout_ms=60_000, producer_id=producer.id,
            producer_epoch=epoch,
        )  # fmt: skip
        return answer.error_code, answer.producer_epoch

    assert asked(0) == (0, 1)
    assert asked(0) == (0, 1)
    assert asked(1) == (0, 2)
    assert asked(0)[0] == FENCED


def test_sequences_go_on_over_transactions(wire: Wire, topic: str) -> None:
    """A producer numbers its batches from its first transaction to its last; a new epoch begins again at 0."""
    producer = Transactional(wire, topic)
    for _ in range(2):
        producer.add(topic)
        assert producer.produce(topic, 1, 2) == 0
        assert producer.end(commit=True) == 0
    producer = Transactional(wire, topic)
    producer.add(topic)
    assert producer.produce(topic, 1) == 0
    producer.end(commit=False)


def test_a_copy_of_a_transactional_batch_is_stored_once(wire: Wire, topic: str) -> None:
    """A repeated batch gets the offset of the first."""
    producer = Transactional(wire, topic)
    producer.add(topic)
    batch = producer.batch(1, 2)

    answers = [wire.produce(topic, batch, name=topic) for _ in range(2)]

    assert [(each.error_code, each.base_offset) for each in answers] == [(0, 0), (0, 0)]
    assert wire.offset(topic, -1).offset == 2
    producer.end(commit=False)
