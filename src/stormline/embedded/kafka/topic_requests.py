"""The requests about the cluster and its topics: metadata, creation, growth, deletion."""

from typing import Any
from uuid import UUID

from stormline.embedded.kafka.broker import HOST, LEADER_EPOCH, NODE_ID, Broker
from stormline.embedded.kafka.catalog import Topic
from stormline.embedded.kafka.codec import NO_ID, Header
from stormline.embedded.kafka.config_requests import described
from stormline.embedded.kafka.errors import Code, RefusedError, attempt

Answer = dict[str, Any]


async def metadata(broker: Broker, request: Any, header: Header) -> Answer:
    """This one broker, and the asked topics (None: all). A topic that is not there is not created."""
    known = broker.catalog.topics
    if request.topics is None or (header.version == 0 and not request.topics):
        topics = [_described(topic) for topic in known.values()]
    else:
        topics = [
            attempt({"name": row.name, "topic_id": row.topic_id or NO_ID}, _found, broker, row)
            for row in request.topics
        ]
    return {
        "brokers": [{"node_id": NODE_ID, "host": HOST, "port": broker.port}],
        "cluster_id": broker.catalog.cluster_id,
        "controller_id": NODE_ID,
        "topics": topics,
    }


def _find(broker: Broker, name: str | None, topic_id: UUID) -> Topic:
    """The topic of that name, or without a name of that id."""
    if name is not None:
        return broker.catalog.topic(name)
    for topic in broker.catalog.topics.values():
        if topic.id == topic_id:
            return topic
    raise RefusedError(Code.UNKNOWN_TOPIC_ID, f"there is no topic with the id {topic_id}")


def _found(broker: Broker, row: Any) -> Answer:
    return _described(_find(broker, row.name, row.topic_id))


def _described(topic: Topic) -> Answer:
    partitions = [
        {
            "partition_index": index,
            "leader_id": NODE_ID,
            "leader_epoch": LEADER_EPOCH,
            "replica_nodes": [NODE_ID],
            "isr_nodes": [NODE_ID],
        }
        for index in range(len(topic.logs))
    ]
    return {"name": topic.name, "topic_id": topic.id, "partitions": partitions}


async def describe_cluster(broker: Broker, request: Any, header: Header) -> Answer:
    """This one broker."""
    return {
        "cluster_id": broker.catalog.cluster_id,
        "controller_id": NODE_ID,
        "brokers": [{"broker_id": NODE_ID, "host": HOST, "port": broker.port}],
    }


async def create_topics(broker: Broker, request: Any, header: Header) -> Answer:
    """Create topics of one replica, or only say whether that would be possible."""
    names = [row.name for row in request.topics]
    return {"topics": [
        attempt({"name": row.name, "topic_id": NO_ID, "error_message": None, "configs": []},
                _create, broker, row, names.count(row.name), validate_only=request.validate_only)
        for row in request.topics
    ]}  # fmt: skip


def _create(broker: Broker, row: Any, times_named: int, *, validate_only: bool) -> Answer:
    if times_named > 1:
        raise RefusedError(Code.INVALID_REQUEST, f"topic {row.name!r} is named twice")
    if row.assignments:
        raise RefusedError(Code.INVALID_REPLICA_ASSIGNMENT, "there is 1 broker; leave the replicas to it")
    if row.replication_factor not in (-1, 1):
        raise RefusedError(Code.INVALID_REPLICATION_FACTOR, f"there is 1 broker; asked: {row.replication_factor}")
    count = 1 if row.num_partitions == -1 else row.num_partitions
    settings = {config.name: config.value or "" for config in row.configs}
    broker.catalog.check_new(row.name, count, settings)
    answer = {"num_partitions": count, "replication_factor": 1, "configs": described(settings)}
    if not validate_only:
        answer["topic_id"] = broker.stored(broker.catalog.create, row.name, count, settings).id
    return answer


async def create_partitions(broker: Broker, request: Any, header: Header) -> Answer:
    """Give topics more partitions; there is no way to fewer."""
    return {"results": [
        attempt({"name": row.name}, _grow, broker, row, validate_only=request.validate_only)
        for row in request.topics
    ]}  # fmt: skip


def _grow(broker: Broker, row: Any, *, validate_only: bool) -> Answer:
    broker.catalog.check_growth(row.name, row.count)
    if not validate_only:
        broker.stored(broker.catalog.grow, row.name, row.count)
    return {}


async def delete_topics(broker: Broker, request: Any, header: Header) -> Answer:
    """Delete topics with their records and what groups have committed for them; from version 6 on also by id."""
    if header.version < 6:
        return {"responses": [attempt({"name": name}, _delete, broker, name, NO_ID)
                              for name in request.topic_names]}  # fmt: skip
    return {"responses": [
        attempt({"name": row.name, "topic_id": row.topic_id or NO_ID}, _delete, broker, row.name, row.topic_id)
        for row in request.topics
    ]}  # fmt: skip


def _delete(broker: Broker, name: str | None, topic_id: UUID) -> Answer:
    topic = _find(broker, name, topic_id)
    broker.stored(broker.catalog.delete, topic.name)
    broker.stored(broker.commits.forget_topic, topic.name)
    return {"name": topic.name, "topic_id": topic.id}
