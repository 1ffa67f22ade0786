"""Settings of a topic: what they do, and how they are changed."""

import time

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_wire import Wire, await_topic
from tests.embedded.kafka.kafka_batches import made

pytestmark = pytest.mark.timeout(600)
SET, DELETE = 0, 1
UNKNOWN_TOPIC, TOO_LARGE, INVALID_CONFIG = 3, 10, 40


def values(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    """Setting -> value."""
    found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    return {name: row["value"] for name, row in found["topic"][topic].items()}


def alter(wire: Wire, topic: str, operation: int = SET, *, only_try: bool = False, **settings: str) -> int:
    """The error code. Dots in names are underscores here."""
    rows = [
        {"name": name.replace("_", "."), "config_operation": operation, "value": value}
        for name, value in settings.items()
    ]
    resources = [{"resource_type": 2, "resource_name": topic, "configs": rows}]
    answer = wire.ask("IncrementalAlterConfigs", 1, resources=resources, validate_only=only_try)
    return int(answer.responses[0].error_code)


def test_settings_given_at_creation_are_told(admin: KafkaAdminClient, topic: str) -> None:
    """All of them, beside the defaults of what was not given."""
    name = f"{topic}-small"
    settings = {"max.message.bytes": "2000", "retention.ms": "86400000"}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": settings}})

    found = values(admin, name)

    assert {key: found[key] for key in settings} == settings
    assert (found["cleanup.policy"], found["compression.type"]) == ("delete", "producer")


def test_settings_can_be_changed_and_taken_back(admin: KafkaAdminClient, wire: Wire, topic: str) -> None:
    """One at a time: the others stay as they are."""
    default = values(admin, topic)["max.message.bytes"]

    assert alter(wire, topic, max_message_bytes="5000") == 0
    wait_until(lambda: values(admin, topic)["max.message.bytes"] == "5000")
    assert values(admin, topic)["retention.ms"] == "-1"

    assert alter(wire, topic, DELETE, max_message_bytes="") == 0
    wait_until(lambda: values(admin, topic)["max.message.bytes"] == default)


def test_a_change_that_is_only_tried_changes_nothing(admin: KafkaAdminClient, wire: Wire, topic: str) -> None:
    """It is only told whether it could be made."""
    before = values(admin, topic)

    assert alter(wire, topic, only_try=True, max_message_bytes="5000") == 0
    assert values(admin, topic) == before


@pytest.mark.parametrize("settings", [{"no_such_setting": "1"}, {"retention_ms": "soon"}, {"cleanup_policy": "burn"}])
def test_settings_that_cannot_be_are_refused(wire: Wire, topic: str, settings: dict[str, str]) -> None:
    """A name nobody knows, a word for a number, a word of no meaning."""
    assert alter(wire, topic, **settings) == INVALID_CONFIG


def test_settings_of_an_unknown_topic_are_refused(wire: Wire, topic: str) -> None:
    """It is not created."""
    assert alter(wire, f"{topic}-never", retention_ms="1") == UNKNOWN_TOPIC


def test_the_longest_message_is_a_setting(wire: Wire, topic: str) -> None:
    """A limit that was changed holds from then on."""
    batch = made([1], size=3000)
    alter(wire, topic, max_message_bytes="2000")
    wait_until(lambda: wire.produce(topic, batch).error_code == TOO_LARGE)
    end = wire.offset(topic, -1).offset

    alter(wire, topic, max_message_bytes="4000")
    wait_until(lambda: wire.produce(topic, batch).error_code == 0)
    assert wire.offset(topic, -1).offset == end + 1


def test_the_time_of_storing_can_be_the_records_time(
    admin: KafkaAdminClient, client: Client, wire: Wire, topic: str
) -> None:
    """With LogAppendTime the producer's own times are replaced, and looked up by."""
    name = f"{topic}-stored"
    settings = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": settings}})
    await_topic(wire, name, 1)
    began = time.time() * 1000 - 1

    client.send(name, [Sent(b"a", timestamp=5), Sent(b"b", timestamp=6)])

    got = client.read(name, 2)
    assert all(began <= row.timestamp <= time.time() * 1000 for row in got)
    assert client.offsets_at(name, [7, int(time.time() * 1000) + 60_000]) == [0, None]
    answer = wire.produce(name, made([1], codec=0))
    assert answer.log_append_time_ms >= began
    assert wire.produce(topic, made([1])).log_append_time_ms == -1


@pytest.mark.parametrize("limit", [{"retention_bytes": "1200000"}, {"retention_ms": "1000"}], ids=["size", "time"])
def test_what_is_too_much_or_too_old_is_deleted(
    admin: KafkaAdminClient, wire: Wire, topic: str, limit: dict[str, str]
) -> None:
    """By whole segments; the first offset moves up, the end stays, and what is read begins there."""
    name = f"{topic}-kept"
    settings = {"segment.bytes": "1048576", "retention.ms": "-1"}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": settings}})
    await_topic(wire, name, 1)
    for _ in range(40):
        assert wire.produce(name, made([1], size=100_000)).error_code == 0
    assert wire.offset(name, -2).offset == 0

    assert alter(wire, name, **limit) == 0

    wait_until(lambda: wire.offset(name, -2).offset >= 20)
    assert wire.offset(name, -1).offset == 40
    first = wire.offset(name, -2).offset
    assert wire.fetch(name, first - 1).error_code == 1
    assert wire.fetch(name, first).error_code == 0


def test_deleting_records_has_bounds(wire: Wire, topic: str) -> None:
    """-1 is the end; past it is out of range; before the first offset nothing happens."""
    for _ in range(5):
        wire.produce(topic, made([1]))

    def trimmed(offset: int) -> tuple[int, int]:
        topics = [{"name": topic, "partitions": [{"partition_index": 0, "offset": offset}]}]
        row = wire.ask("DeleteRecords", 2, topics=topics, timeout_ms=5000).topics[0].partitions[0]
        return row.error_code, row.low_watermark

    assert trimmed(3) == (0, 3)
    assert trimmed(1) == (0, 3)
    assert trimmed(6)[0] == 1
    assert trimmed(-1) == (0, 5)
    assert (wire.offset(topic, -2).offset, wire.offset(topic, -1).offset) == (5, 5)
    assert wire.produce(topic, made([1])).base_offset == 5


def test_the_broker_has_settings_too(admin: KafkaAdminClient) -> None:
    """Topics are not made by asking for them, for one."""
    found = admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")], config_filter="all")

    assert found["broker"]["1"]["auto.create.topics.enable"]["value"] == "false"
