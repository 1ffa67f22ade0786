"""What clients, and our own connectors, make of errors and lost answers in the middle of their work.

The server is real; something between it and them does once what the test has written down.
"""

from collections.abc import Iterator

import pytest
from connectors.kafka_connector_parts import Inbox

from stormline.connectors.brokers import CLIENTS, Brokers
from stormline.connectors.kafka import Place, ensure_topic, places, reset_group
from stormline.connectors.kafka_appender import Appender
from stormline.connectors.kafka_writer import KafkaWriter
from stormline.core.events import Committed
from tests.contracts.kafka.client_confluent import Confluent
from tests.contracts.kafka.client_kafka_python import KafkaPython
from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_reading import Reading
from tests.contracts.kafka.kafka_scripted import (
    CREATE_TOPICS,
    FETCH,
    FIND_COORDINATOR,
    LIST_OFFSETS,
    METADATA,
    OFFSET_COMMIT,
    PRODUCE,
    Act,
    Scripted,
)

pytestmark = pytest.mark.timeout(600)
LOADING, NO_COORDINATOR, NOT_COORDINATOR, NOT_LEADER = 14, 15, 16, 6
PRODUCE_ACTS = [Act(PRODUCE, "lose"), Act(PRODUCE, NOT_LEADER)]


@pytest.fixture
def scripted(kafka: str) -> Iterator[Scripted]:
    """What lies between; its script is empty."""
    scripted = Scripted(kafka)
    yield scripted
    scripted.close()


def named(act: Act) -> str:
    return str(act.what)


@pytest.mark.parametrize("act", PRODUCE_ACTS, ids=named)
@pytest.mark.parametrize("kind", [KafkaPython, Confluent])
def test_an_idempotent_producer_stores_once(
    scripted: Scripted, either: Client, topic: str, kind: type[KafkaPython] | type[Confluent], act: Act
) -> None:
    """Whether the server had the batch when its answer was lost, or never heard of it."""
    scripted.script = [act]

    offsets = kind(scripted.bootstrap).send(topic, [Sent(b"%d" % i) for i in range(5)], is_idempotent=True)

    assert scripted.done == [act]
    assert offsets == [0, 1, 2, 3, 4]
    assert either.bounds(topic) == (0, 5)


@pytest.mark.parametrize("act", PRODUCE_ACTS, ids=named)
@pytest.mark.parametrize("library", CLIENTS)
def test_our_writer_stores_once(scripted: Scripted, either: Client, topic: str, library: str, act: Act) -> None:
    """A record is confirmed when it is there, once."""
    inbox = Inbox()
    writer = KafkaWriter(Brokers(scripted.bootstrap, library), create=False, post=inbox.post)
    scripted.script = [act]

    for value in (b"a", b"b"):
        writer.send(topic, key=b"same", value=value, headers=[], done=inbox.events.append)
    inbox.until(lambda: len(inbox.events) == 2)
    writer.close()

    assert scripted.done == [act]
    assert inbox.events == [None, None]
    ends = [either.bounds(topic, partition)[1] for partition in (0, 1)]
    assert sorted(ends) == [0, 2]


@pytest.mark.parametrize("act", PRODUCE_ACTS, ids=named)
def test_our_feed_stores_once(scripted: Scripted, either: Client, topic: str, act: Act) -> None:
    """Each batch at the offset where it belongs."""
    appender = Appender(Brokers(scripted.bootstrap), topic, {0: 0}, header=b"h")
    scripted.script = [act]

    for i in range(3):
        appender.append(0, [(1, None, b"%d" % i, b"")])
    appender.finish()
    appender.close()

    assert scripted.done == [act]
    assert [row.value for row in either.read(topic, 3)] == [b"0", b"1", b"2"]
    assert either.bounds(topic) == (0, 3)


@pytest.fixture(params=CLIENTS)
def reading(request: pytest.FixtureRequest, scripted: Scripted, topic: str) -> Iterator[Reading]:
    reading = Reading(request.param, scripted.bootstrap, topic)
    yield reading
    reading.reader.close()


@pytest.mark.parametrize("act", [Act(FETCH, "lose"), Act(FETCH, NOT_LEADER)], ids=named)
def test_our_reader_misses_nothing(scripted: Scripted, reading: Reading, either: Client, topic: str, act: Act) -> None:
    """Records come once each and in order, whatever happens to a fetch."""
    either.send(topic, [Sent(b"x")] * 5)
    reading.until(5)
    scripted.script = [act]

    for end in (10, 15):  # the fetch that is on its way may bring the first of them
        either.send(topic, [Sent(b"y")] * 5)
        reading.until(end)

    assert reading.offsets == list(range(15))
    assert scripted.done == [act]


@pytest.mark.parametrize("what", ["lose", LOADING, NOT_COORDINATOR])
def test_our_reader_commits_in_the_end(
    scripted: Scripted, reading: Reading, either: Client, topic: str, what: int
) -> None:
    """A coordinator that loads, that has moved, or whose answer is lost, is asked again."""
    either.send(topic, [Sent(b"x")] * 5)
    reading.until(5)
    scripted.script = [act := Act(OFFSET_COMMIT, what)]

    reading.reader.commit({reading.name: 3})

    assert reading.inbox.next(Committed).offsets == {reading.name: 3}
    assert scripted.done == [act]
    committed = either.committed(f"group-of-{topic}", topic)
    assert committed is not None
    assert committed[0] == 3


@pytest.mark.parametrize(
    "act",
    [
        Act(FIND_COORDINATOR, NO_COORDINATOR),
        *(Act(each, "lose") for each in (FIND_COORDINATOR, METADATA, LIST_OFFSETS)),
    ],
    ids=lambda act: f"{act.api_key}-{act.what}",
)
def test_how_far_a_group_is_is_asked_again(scripted: Scripted, either: Client, topic: str, act: Act) -> None:
    """While a new Kafka has no coordinator yet, and where a connection breaks."""
    either.send(topic, [Sent(b"x")] * 5)
    either.commit(f"group-of-{topic}", topic, 3, "")
    scripted.script = [act]

    found = places(Brokers(scripted.bootstrap), f"group-of-{topic}", [topic])

    assert scripted.done == [act]
    assert found == [Place(topic, 0, 3, 0, 5), Place(topic, 1, None, 0, 0)]


@pytest.mark.parametrize("what", ["lose", NO_COORDINATOR])
def test_the_offsets_of_a_group_are_forgotten_in_the_end(
    scripted: Scripted, either: Client, topic: str, what: int
) -> None:
    """`--fresh` meets a Kafka that has no coordinator yet, or a connection that breaks."""
    either.commit(f"group-of-{topic}", topic, 0, "")
    scripted.script = [act := Act(FIND_COORDINATOR, what)]

    reset_group(Brokers(scripted.bootstrap), f"group-of-{topic}", [topic])

    assert scripted.done == [act]
    assert either.committed(f"group-of-{topic}", topic) is None


def test_a_topic_is_created_though_the_answer_is_lost(scripted: Scripted, topic: str) -> None:
    """It is there already when it is asked for again; that is no error."""
    scripted.script = [act := Act(CREATE_TOPICS, "lose")]

    assert ensure_topic(Brokers(scripted.bootstrap), f"{topic}-made", 3) == 3
    assert scripted.done == [act]
