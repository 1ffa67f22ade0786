"""Two servers for the whole session, each reached only through its bootstrap address: every contract is asked of both,
and of both clients where that can matter. What one of them answers otherwise is a fault of ours, or is listed with its
reason in docs/embedded.md.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from kafka import KafkaAdminClient

from tests.contracts.kafka.client_confluent import Confluent
from tests.contracts.kafka.client_kafka_python import KafkaPython
from tests.contracts.kafka.kafka_clients import Client
from tests.contracts.kafka.kafka_servers import ApacheKafka, EmbeddedKafka
from tests.contracts.kafka.kafka_wire import Wire, await_topic, connected

_names = itertools.count()


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[ApacheKafka]]:
    """Apache Kafka, started beside the tests of the embedded one: it takes ten seconds."""
    with ThreadPoolExecutor(1) as beside:
        started = beside.submit(ApacheKafka, tmp_path_factory.mktemp("apache"))
        yield started
        if started.exception() is None:
            started.result().kill()


@pytest.fixture(scope="session", params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a running Kafka with no topics of ours."""
    if any("apache" in item.name for item in request.session.items):
        apache = request.getfixturevalue("apache")
    if request.param == "apache":
        server = apache.result()
        server.wait()
        yield server.bootstrap
        return
    embedded = EmbeddedKafka(tmp_path_factory.mktemp("embedded"))
    yield embedded.bootstrap
    assert embedded.end() == 0
    assert "Traceback" not in embedded.stderr, embedded.stderr


@pytest.fixture(params=["kafka-python", "confluent-kafka"])
def client(request: pytest.FixtureRequest, kafka: str) -> Client:
    """Either client, talking to the server under test."""
    return KafkaPython(kafka) if request.param == "kafka-python" else Confluent(kafka)


@pytest.fixture
def either(kafka: str) -> Client:
    """A client for what has nothing to do with which it is."""
    return KafkaPython(kafka)


@pytest.fixture(scope="session")
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    """One admin client for all."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    yield admin
    admin.close()


@pytest.fixture
def topic(admin: KafkaAdminClient, wire: Wire) -> str:
    """A fresh topic with two partitions. Records of any age are kept."""
    name = f"contract-{next(_names)}"
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1, "configs": {"retention.ms": "-1"}}})
    await_topic(wire, name, 2)
    return name


@pytest.fixture
def wire(kafka: str) -> Iterator[Wire]:
    """A connection for requests of our own."""
    with connected(kafka) as wire:
        yield wire
