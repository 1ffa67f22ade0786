"""Requests in every version that both clients and both servers may agree on: one that is advertised is answered."""

from typing import Any

import pytest

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_wire import Wire, schema

pytestmark = pytest.mark.timeout(600)


def bodies(topic: str) -> dict[str, dict[str, Any]]:
    """A request of each kind that changes nothing, or nothing that matters; a field is used where a version has it."""
    row = {"partition_index": 0}
    new = {"name": f"{topic}-new", "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
    group = {"group_id": topic, "member_id": "", "group_instance_id": None}
    return {
        "ListOffsets": {
            "replica_id": -1, "isolation_level": 0,
            "topics": [{"name": topic, "partitions": [{**row, "timestamp": -1, "current_leader_epoch": -1}]}],
        },
        "Fetch": {
            "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1000, "isolation_level": 0,
            "session_id": 0, "session_epoch": -1, "rack_id": "", "forgotten_topics_data": [],
            "topics": [{"topic": topic, "partitions": [{
                "partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000, "current_leader_epoch": -1,
                "log_start_offset": -1, "last_fetched_epoch": -1,
            }]}],
        },
        "Metadata": {"topics": None, "allow_auto_topic_creation": False},
        "OffsetCommit": {
            **group, "generation_id_or_member_epoch": -1, "retention_time_ms": -1,
            "topics": [{"name": topic, "partitions": [{
                **row, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": "",
            }]}],
        },
        "OffsetFetch": {
            "group_id": topic, "topics": [{"name": topic, "partition_indexes": [0]}], "require_stable": False,
            "groups": [{"group_id": topic, "topics": [{"name": topic, "partition_indexes": [0]}]}],
        },
        "FindCoordinator": {"key": topic, "key_type": 0, "coordinator_keys": [topic]},
        "DescribeGroups": {"groups": [topic], "include_authorized_operations": False},
        "ListGroups": {"states_filter": [], "types_filter": []},
        "CreateTopics": {"topics": [new], "timeout_ms": 1000, "validate_only": True},
        "DescribeConfigs": {
            "resources": [{"resource_type": 2, "resource_name": topic, "configuration_keys": None}],
            "include_synonyms": False, "include_documentation": False,
        },
        "InitProducerId": {
            "transactional_id": None, "transaction_timeout_ms": 1000, "producer_id": -1, "producer_epoch": -1,
        },
        "DescribeCluster": {"include_cluster_authorized_operations": False, "endpoint_type": 1},
        "CreatePartitions": {
            "topics": [{"name": topic, "count": 3, "assignments": None}], "timeout_ms": 1000, "validate_only": True,
        },
        "DeleteGroups": {"groups_names": []},
        "DeleteTopics": {"topic_names": [], "topics": [], "timeout_ms": 1000},
        "DeleteRecords": {"topics": [], "timeout_ms": 1000},
        "OffsetForLeaderEpoch": {
            "replica_id": -1,
            "topics": [{"topic": topic, "partitions": [{
                "partition": 0, "current_leader_epoch": -1, "leader_epoch": 0,
            }]}],
        },
    }  # fmt: skip


def error_codes(answer: Any) -> set[int]:
    """All of an answer, however deep."""
    found = set()
    if isinstance(answer, dict):
        for name, value in answer.items():
            found |= {value} if name.endswith("error_code") else error_codes(value)
    elif isinstance(answer, list):
        found = set().union(*map(error_codes, answer))
    return found


@pytest.mark.parametrize("name", bodies(""))
def test_every_advertised_version_is_answered(wire: Wire, either: Client, topic: str, name: str) -> None:
    """Without an error, as its schema says."""
    either.send(topic, [Sent(b"x")])
    either.commit(topic, topic, 1, "")
    rows = {row.api_key: row for row in wire.ask("ApiVersions", 0).api_keys}
    request = schema(f"{name}Request")
    known = rows[request.API_KEY]
    versions = range(max(known.min_version, request.min_version), min(known.max_version, request.max_version) + 1)
    by_id = {"Fetch": 13, "OffsetCommit": 10, "OffsetFetch": 10, "ListOffsets": 10}
    for version in versions:
        if version < by_id.get(name, 100):  # from there on topics have ids, not names
            fields = request._struct.fields
            body = {key: value for key, value in bodies(topic)[name].items() if fields[key].for_version_q(version)}
            if name == "Metadata" and version == 0:
                body["topics"] = []  # it has no null
            wait_until(lambda: error_codes(wire.ask(name, version, **body).to_dict()) <= {0})  # noqa: B023
    assert len(versions) > 0
