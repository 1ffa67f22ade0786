"""What a server says to requests it does not know, and to clients that speak an older or newer version."""

import pytest

from tests.contracts.kafka.kafka_wire import Wire, connected, schema

pytestmark = pytest.mark.timeout(600)
API_VERSIONS, UNSUPPORTED_VERSION = 18, 35
KNOWN = {0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 32, 37, 42, 44, 47, 60}


@pytest.mark.parametrize("version", range(5))
def test_versions_are_told_in_every_version(wire: Wire, version: int) -> None:
    """Whatever a client sends first, it learns which requests are answered."""
    body = {"client_software_name": "x", "client_software_version": "1"} if version >= 3 else {}

    answer = wire.ask("ApiVersions", version, **body)

    assert answer.error_code == 0
    assert {row.api_key for row in answer.api_keys} >= KNOWN
    assert all(row.min_version <= row.max_version for row in answer.api_keys)


def test_a_newer_client_is_told_the_versions_too(wire: Wire) -> None:
    """An ApiVersions request of an unknown version gets the oldest answer, with its error, so that it can ask again."""
    wire.send(API_VERSIONS, 100, b"\0")  # no tags: the header of a newer request ends with them

    frame = wire.frame()

    assert frame is not None
    answer = schema("ApiVersionsResponse").decode(frame, version=0, header=True)
    assert answer.error_code == UNSUPPORTED_VERSION
    assert API_VERSIONS in {row.api_key for row in answer.api_keys}
    assert wire.ask("ApiVersions", 0).error_code == 0


@pytest.mark.parametrize("api_key", [32_000, -1], ids=["unknown", "negative"])
def test_an_unknown_request_ends_its_connection(kafka: str, wire: Wire, api_key: int) -> None:
    """And no other."""
    wire.send(api_key, 0, b"")

    assert wire.frame() is None
    with connected(kafka) as other:
        assert other.ask("ApiVersions", 0).error_code == 0


def test_an_unknown_version_ends_its_connection(wire: Wire) -> None:
    """A request that is known, in a version that is not."""
    wire.send(3, 99, b"")

    assert wire.frame() is None


def test_requests_are_answered_in_order(wire: Wire) -> None:
    """A client may send the next request before it has the answer to the last one."""
    for _ in range(3):
        wire.send(API_VERSIONS, 0, b"")
        wire.send(3, 0, b"\0\0\0\0")

    frames = [wire.frame() for _ in range(6)]

    assert [frame is not None and len(frame) for frame in frames[0::2]] == [len(frames[0] or b"")] * 3
    assert [frame is not None and len(frame) > 8 for frame in frames[1::2]] == [True] * 3


def test_the_cluster_is_described(wire: Wire, kafka: str) -> None:
    """One broker, where the client has found it, which is the controller, with an id of the cluster."""
    metadata = wire.ask("Metadata", 9, topics=[], allow_auto_topic_creation=False)
    cluster = wire.ask("DescribeCluster", 0)

    (broker,) = metadata.brokers
    assert f"{broker.host}:{broker.port}" == kafka
    assert [(row.broker_id, f"{row.host}:{row.port}") for row in cluster.brokers] == [(broker.node_id, kafka)]
    assert metadata.controller_id == broker.node_id
    assert cluster.cluster_id == metadata.cluster_id
    assert cluster.cluster_id
