"""What all parts that talk to Kafka by kafka-python share: its settings, and the few administrative calls of the
command line. Only the `kafka*` files and `feed` of this room import it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    GroupIdNotFoundError,
    KafkaError,
    KafkaTimeoutError,
    NoError,
    RetriableError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.net import KafkaNetClient

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka_clients import AWAY_MS, reason, unreachable
from stormline.core.errors import ServerError
from stormline.core.topics import Topics, reads

# kafka-python logs each attempt to connect as warnings and errors, several lines a second while a broker is away. What
# matters of it is reported by the connectors, once. A level that the user has set stays.
_client_log = logging.getLogger("kafka")
if _client_log.level == logging.NOTSET:
    _client_log.setLevel(logging.CRITICAL + 1)

TIMEOUT_MS = 30_000
ANSWER_MS = 10_000
CLOSE_MS = 1_000
CONNECT_MS = 10_000
POLL_S = 0.05
ASK_AGAIN_S = 0.2
FIRST_ASKED_AFTER_MS = 10
_Answer = TypeVar("_Answer")
REPLAYED = "replayed"
"""The header of a record that was sent again by `sparse dlq replay`: the origin it had first."""
FED = {"retention.ms": "-1"}
"""Of a topic that is fed: its records bear their event times, and Kafka's default deletes within minutes what is older
than a week by them."""


def client_settings(brokers: Brokers) -> dict[str, Any]:
    """Settings of every client. Raises SettingsError if what is to be found on this machine is not."""
    security: dict[str, Any] = {"security_protocol": brokers.protocol}
    if brokers.tls is not None:
        security["ssl_context"] = brokers.tls.context()
    if brokers.sasl is not None:
        user, password = brokers.sasl.credentials()
        security |= {"sasl_mechanism": brokers.sasl.mechanism}
        security |= {"sasl_plain_username": user, "sasl_plain_password": password}
    return {
        **security,
        "bootstrap_servers": brokers.bootstrap,
        "client_id": "stormline",
        "reconnect_backoff_max_ms": AWAY_MS,
        "request_timeout_ms": 10_000,
    }


class ClientMaker:
    """Given to kafka-python as its `kafka_client`: keeps hold of the connection layer, which has the topic ids, and
    whose thread would otherwise go on for ever when a constructor gives up.
    """

    def __init__(self) -> None:
        self.client: Any = None

    def __call__(self, **settings: Any) -> Any:
        self.client = KafkaNetClient(**settings)
        # It does not hear of the client's own setting, and waits 100 ms before it first asks.
        self.client.cluster.config["retry_backoff_ms"] = FIRST_ASKED_AFTER_MS
        # To ask for a topic must not create it.
        self.client.cluster.config["allow_auto_create_topics"] = False
        return self.client

    def close(self) -> None:
        if self.client is not None:
            self.client.close()


def ensure_topic(
    brokers: Brokers,
    topic: str,
    partitions: int,
    *,
    configs: Mapping[str, str] | None = None,
    timeout_ms: int = TIMEOUT_MS,
) -> int:
    """Create the topic if it does not exist, and wait until it can be used; the number of partitions it has.

    One that exists keeps its number of partitions and its `configs`. Raises ServerError.
    """

    def create(admin: Any) -> int:
        if topic not in admin.list_topics():
            with suppress(TopicAlreadyExistsError):  # someone else was faster
                wanted = {"num_partitions": partitions, "configs": dict(configs or {})}
                admin.create_topics({topic: wanted}, timeout_ms=timeout_ms)
            admin.wait_for_topics([topic], timeout_ms=timeout_ms)
        return len(admin.describe_topics([topic])[0]["partitions"])

    return _asked(brokers, f"create topic {topic}", timeout_ms, create)


def partition_count(brokers: Brokers, topic: str, *, timeout_ms: int = TIMEOUT_MS) -> int | None:
    """How many partitions the topic has; None if it does not exist. Raises ServerError."""

    def count(admin: Any) -> int | None:
        if topic not in admin.list_topics():
            return None
        return len(admin.describe_topics([topic])[0]["partitions"])

    return _asked(brokers, f"look for topic {topic}", timeout_ms, count)


def absent(brokers: Brokers, topic: str) -> str:
    """What a message says of a topic that a sink needs and nobody has created."""
    return (
        f"does not exist on Kafka at {brokers}; create it, or have the environment in config.json do so: "
        f'"topics": {{"{topic}": {{"partitions": 1}}}}'
    )


def topic_names(brokers: Brokers, *, timeout_ms: int = TIMEOUT_MS) -> list[str]:
    """All topics that there are. Raises ServerError."""
    return _asked(brokers, "list the topics", timeout_ms, lambda admin: list(admin.list_topics()))


def delete_topic(brokers: Brokers, topic: str, *, timeout_ms: int = TIMEOUT_MS) -> None:
    """Delete the topic, if it exists, with all its records, and wait until it is gone. Raises ServerError."""

    def delete(admin: Any) -> None:
        with suppress(UnknownTopicOrPartitionError):  # there is none, or the answer to the first question was lost
            admin.delete_topics([topic], timeout_ms=timeout_ms)
        _wait(lambda: topic not in admin.list_topics(), timeout_ms, f"topic {topic} is still there")

    _asked(brokers, f"delete topic {topic}", timeout_ms, delete)


def reset_group(brokers: Brokers, group: str, topics: Sequence[Topics], *, timeout_ms: int = TIMEOUT_MS) -> None:
    """Forget the offsets that the group has committed for these topics. Raises ServerError."""

    def reset(admin: Any) -> None:
        try:
            committed = admin.list_group_offsets({group: None})[group]
            ours = [partition for partition in committed if reads(topics, partition.topic)]
            results = admin.delete_group_offsets(group, ours) if ours else {}
        except GroupIdNotFoundError:
            return
        refused = {
            f"{tp.topic}/{tp.partition}: {error.__name__}" for tp, error in results.items() if error is not NoError
        }
        if refused:
            raise ServerError(f"Kafka did not reset the offsets of group {group}: {', '.join(sorted(refused))}")

    _asked(brokers, f"reset the offsets of group {group}", timeout_ms, reset)


class Place(NamedTuple):
    """Where a group is in one partition; offsets."""

    topic: str
    number: int
    committed: int | None
    first: int
    end: int

    @property
    def behind(self) -> int:
        """Offsets that are still there and not committed."""
        return max(0, self.end - max(self.first, self.committed or 0))


def places(brokers: Brokers, group: str, topics: Sequence[Topics], *, timeout_ms: int = TIMEOUT_MS) -> list[Place]:
    """By topic and number; a topic that does not exist has no partitions. Raises ServerError."""

    def stand(admin: Any) -> list[Place]:
        wanted = sorted(name for name in admin.list_topics() if reads(topics, name))
        partitions = sorted(
            TopicPartition(topic["name"], each["partition_index"])
            for topic in (admin.describe_topics(wanted) if wanted else ())
            for each in topic["partitions"]
        )
        try:
            committed = admin.list_group_offsets({group: None})[group]
        except GroupIdNotFoundError:
            committed = {}
        first, end = (
            admin.list_partition_offsets(dict.fromkeys(partitions, spec))
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
        return [
            Place(
                each.topic,
                each.partition,
                committed[each].offset if each in committed else None,
                first[each].offset,
                end[each].offset,
            )
            for each in partitions
        ]

    return _asked(brokers, f"ask how far group {group} is", timeout_ms, stand)


@contextmanager
def looking(brokers: Brokers, what: str) -> Iterator[Any]:
    """A consumer without a group, to look into `what`; of transactions it sees what is committed. It is closed at the
    end. Its errors become ServerError."""
    maker, consumer = ClientMaker(), None
    try:
        consumer = KafkaConsumer(
            **client_settings(brokers),
            kafka_client=maker,
            bootstrap_timeout_ms=ANSWER_MS,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            metrics_enabled=False,
        )
        yield consumer
    except KafkaTimeoutError as error:
        raise ServerError(f"{what}: {unreachable(brokers)}", retriable=True) from error
    except KafkaError as error:
        raise ServerError(f"{what} on {brokers}: {reason(error)}") from error
    finally:
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        maker.close()


def _asked(brokers: Brokers, purpose: str, timeout_ms: int, question: Callable[[Any], _Answer]) -> _Answer:
    """What `question` gets from an admin client; its errors become ServerError.

    It is asked again, of a new client, where a connection breaks, or while a Kafka that has just begun has no
    coordinator or no leader yet: the client itself does so in a few cases only.
    """
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        maker = ClientMaker()
        try:
            try:
                admin = KafkaAdminClient(
                    **client_settings(brokers), bootstrap_timeout_ms=min(timeout_ms, CONNECT_MS), kafka_client=maker
                )
            except KafkaTimeoutError as error:
                raise ServerError(f"could not {purpose}: {unreachable(brokers)}", retriable=True) from error
            return question(admin)
        except KafkaError as error:
            retriable = isinstance(error, RetriableError)
            if not retriable or time.monotonic() > deadline:
                told = f"could not {purpose} on Kafka at {brokers}: {reason(error)}"
                raise ServerError(told, retriable=retriable) from error
        finally:
            maker.close()
        time.sleep(ASK_AGAIN_S)


def _wait(done: Callable[[], bool], timeout_ms: int, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_ms / 1000
    while not done():
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"{otherwise} after {timeout_ms} ms")
        time.sleep(POLL_S)
