"""What the reader and the writer need of a client of Kafka. Two libraries have it: `kafka_python*.py`, which is always
installed, and `kafka_confluent*.py`, which is faster.

A client belongs to one thread. It has no rules: those are in `kafka_reader.py` and `kafka_writer.py`.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from stormline.connectors.brokers import CONFLUENT, Brokers
from stormline.connectors.columns import Columns

ANSWER_MS = 5_000
METADATA_MS = 2_000
"""How old what is known of topics may be."""
AWAY_MS = 1_000
"""A broker that was away is tried again so soon, at the latest: the libraries' own waits grow to 10 and 30 s."""
FETCH_BYTES = 512 * 1024
"""Of one partition, at a time."""


class Address(NamedTuple):
    """Where a partition is."""

    topic: str
    number: int


class Topic(NamedTuple):
    """What Kafka says of a topic."""

    id: uuid.UUID | None
    """Another one if it was deleted and made anew (KIP-516); None if the broker has none."""
    numbers: frozenset[int]
    """Of its partitions."""


class KafkaFault(Exception):
    """What Kafka, or the way there, has done, in one line. `retriable`: it may pass by itself."""

    def __init__(self, text: str, *, retriable: bool) -> None:
        self.retriable = retriable
        super().__init__(text)


class Unanswered(KafkaFault):
    """No answer in time."""

    def __init__(self, text: str = "no answer in time") -> None:
        super().__init__(text, retriable=True)


class OutOfRange(KafkaFault):
    """The log does not have the positions of these partitions (any more)."""

    def __init__(self, addresses: Collection[Address]) -> None:
        self.addresses = addresses
        super().__init__(f"out of range: {', '.join(map(str, addresses))}", retriable=False)


class Unsendable(KafkaFault):
    """The record's own fault: it would be refused each time."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


class Consumer(Protocol):
    """Reads partitions that it is given, without a membership in the group. Of transactions only what is committed.

    Every method may raise KafkaFault; those that ask a broker wait for `ANSWER_MS`, or as long as they are told.
    """

    def names(self) -> set[str]:
        """All topics."""

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        """What there is of these topics, as of `METADATA_MS` ago or later. To ask for a topic does not create it."""

    def beginnings(self, addresses: Collection[Address]) -> dict[Address, int]:
        """The first offset there is."""

    def ends(self, addresses: Collection[Address], timeout_ms: int = ANSWER_MS) -> dict[Address, int]:
        """The first offset that is not there, or belongs to a transaction that is open."""

    def since(self, addresses: Collection[Address], time_ms: int) -> dict[Address, int | None]:
        """The first offset with this timestamp or a later one; None if there is none."""

    def committed(self, addresses: Collection[Address]) -> dict[Address, int | None]:
        """The group's; None where it has committed nothing."""

    def assign(self, positions: Mapping[Address, int]) -> None:
        """Read these from these offsets on, besides what is read already."""

    def hold(self, addresses: Collection[Address]) -> None:
        """Let `poll` serve all but these; what was fetched of them is kept, within bounds."""

    def poll(self, timeout_ms: int) -> dict[Address, list[Columns]]:
        """What has come, in order, in pieces of at most `max_batch` records; waits so long if there is nothing."""

    def standing(self, address: Address) -> tuple[int, int | None]:
        """(offset behind all that `poll` gave or left out, log end if it is known). Asks nobody."""

    def commit(self, offsets: Mapping[Address, int], done: Callable[[KafkaFault | None], None]) -> None:
        """Commit for the group; `poll` calls `done` when the answer is there."""

    def close(self) -> None:
        """At once; what is not answered stays so. Raises nothing."""


class Producer(Protocol):
    """Writes records, each once and in order (idempotent), confirmed by all replicas."""

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[KafkaFault | None], None],
    ) -> None:
        """`done` is called once, on any thread, when the broker has confirmed or refused it, or has not within the time
        given. Raises KafkaFault, ServerError for what cannot even be tried."""

    def flush(self, timeout_s: float) -> None:
        """Wait until all is answered, but not longer."""

    def close(self, timeout_s: float) -> None:
        """Wait for answers so long, then give up what has none: `done` may not be called for it."""


def consumer(brokers: Brokers, group: str, *, max_batch: int, timestamps: bool) -> Consumer:
    """`max_batch`: records in a piece of what `poll` gives. `timestamps`: they will be looked at.

    Raises KafkaFault.
    """
    # A library is imported by whoever chose it: each costs a third of a second, and one of them may not be installed.
    if brokers.client == CONFLUENT:
        from stormline.connectors.kafka_confluent import ConfluentConsumer

        return ConfluentConsumer(brokers, group, max_batch=max_batch)
    from stormline.connectors.kafka_python import KafkaPythonConsumer

    return KafkaPythonConsumer(brokers, group, max_batch=max_batch, timestamps=timestamps)


def producer(brokers: Brokers, *, delivery_ms: int) -> Producer:
    """`delivery_ms`: after so long a record counts as not sent. Raises ServerError."""
    if brokers.client == CONFLUENT:
        from stormline.connectors.kafka_confluent_producer import ConfluentProducer

        return ConfluentProducer(brokers, delivery_ms=delivery_ms)
    from stormline.connectors.kafka_python_producer import KafkaPythonProducer

    return KafkaPythonProducer(brokers, delivery_ms=delivery_ms)


def partition_name(topic: str, topic_id: uuid.UUID | None, number: int) -> str:
    """The identity of a partition: `<topic>:<topic id>/<number>`, so that a topic deleted and made anew is another one
    (KIP-516); without the id where the broker has none. The id is written as Kafka's own tools write it.
    """
    if topic_id is None or topic_id.int == 0:
        return f"{topic}/{number}"
    text = base64.urlsafe_b64encode(topic_id.bytes).rstrip(b"=").decode()
    return f"{topic}:{text}/{number}"


def reason(error: BaseException) -> str:
    """What went wrong, in one line: errors of libraries carry their meaning in the class as often as in the text."""
    name, text = type(error).__name__, " ".join(str(error).split())
    return text if name in text else f"{name}: {text}" if text else name


def unreachable(brokers: Brokers) -> str:
    """Why nothing comes from there, for a message. Looks for it, for some seconds at most."""
    from stormline.connectors.kafka_probe import fault  # kafka-python's

    told = fault(brokers) or f"Kafka at {brokers} does not answer in time"
    return told if told.endswith("?") else f"{told}."
