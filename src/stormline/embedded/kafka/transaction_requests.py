"""The requests about producers and their transactions."""

from collections.abc import Callable
from typing import Any

from stormline.embedded.kafka.broker import Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.errors import Code, RefusedError
from stormline.embedded.kafka.offset_requests import checked_commits
from stormline.embedded.kafka.transactions import State

Answer = dict[str, Any]
_KNOWS_FENCED = 2  # before this version of the requests of a transaction, a fenced producer has a wrong epoch


async def init_producer_id(broker: Broker, request: Any, header: Header) -> Answer:
    """A new producer id, epoch 0; for a transactional id its own, with an epoch that fences whoever had it before."""
    if request.transactional_id is None:
        return {"producer_id": broker.stored(broker.catalog.new_producer_id), "producer_epoch": 0}
    asked = (request.transactional_id, request.transaction_timeout_ms, request.producer_id, request.producer_epoch)
    producer = _stored(broker, header.version >= 4, broker.coordinator.producer, *asked)
    return {"producer_id": producer.producer_id, "producer_epoch": producer.epoch}


async def add_partitions_to_txn(broker: Broker, request: Any, header: Header) -> Answer:
    """Partitions into which the transaction will write; all of them, or none if one does not exist."""
    topics = request.v3_and_below_topics
    known = broker.catalog.topics
    asked = {(topic.name, index) for topic in topics for index in topic.partitions}
    unknown = {(name, index) for name, index in asked if name not in known or not 0 <= index < len(known[name].logs)}
    codes = dict.fromkeys(asked, Code.OPERATION_NOT_ATTEMPTED) if unknown else dict.fromkeys(asked, Code.NONE)
    codes |= dict.fromkeys(unknown, Code.UNKNOWN_TOPIC_OR_PARTITION)
    if not unknown:
        producer = (request.v3_and_below_transactional_id, request.v3_and_below_producer_id)
        asks = (*producer, request.v3_and_below_producer_epoch, asked, None)
        try:
            _stored(broker, header.version >= _KNOWS_FENCED, broker.coordinator.add, *asks)
        except RefusedError as error:
            codes = dict.fromkeys(asked, error.code)
    return {"results_by_topic_v3_and_below": [
        {"name": topic.name, "results_by_partition": [
            {"partition_index": index, "partition_error_code": codes[topic.name, index]} for index in topic.partitions
        ]} for topic in topics
    ]}  # fmt: skip


async def add_offsets_to_txn(broker: Broker, request: Any, header: Header) -> Answer:
    """A group whose offsets will be committed with the transaction."""
    producer = (request.transactional_id, request.producer_id, request.producer_epoch)
    knows_fenced = header.version >= _KNOWS_FENCED
    _stored(broker, knows_fenced, broker.coordinator.add, *producer, set(), request.group_id)
    return {}


async def txn_offset_commit(broker: Broker, request: Any, header: Header) -> Answer:
    """Offsets that count once the transaction is committed; from a member of this generation, or any producer."""
    member = (request.member_id, request.group_instance_id, request.generation_id)

    def hold(commits: Any) -> None:
        producer = (request.transactional_id, request.producer_id, request.producer_epoch)
        _stored(broker, False, broker.coordinator.hold, *producer, request.group_id, commits)

    return checked_commits(broker, request, member, hold)


async def end_txn(broker: Broker, request: Any, header: Header) -> Answer:
    """Commit or abort."""

    def end() -> None:
        producer = (request.transactional_id, request.producer_id, request.producer_epoch)
        broker.coordinator.end(*producer, commits=request.committed)

    _stored(broker, header.version >= _KNOWS_FENCED, end)
    return {}


def _stored(broker: Broker, knows_fenced: bool, change: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return broker.stored(change, *arguments, code=Code.COORDINATOR_NOT_AVAILABLE)
    except RefusedError as error:
        if error.code is Code.PRODUCER_FENCED and not knows_fenced:
            raise RefusedError(Code.INVALID_PRODUCER_EPOCH, error.reason) from error
        raise


async def list_transactions(broker: Broker, request: Any, header: Header) -> Answer:
    """All transactional ids, or those in one of these states or of these producers."""
    names = {state.value for state in State}
    return {
        "unknown_state_filters": [name for name in request.state_filters if name not in names],
        "transaction_states": [
            {"transactional_id": name, "producer_id": found.producer_id, "transaction_state": found.state.value}
            for name, found in broker.coordinator.transactions.by_id.items()
            if (not request.state_filters or found.state.value in request.state_filters)
            and (not request.producer_id_filters or found.producer_id in request.producer_id_filters)
        ],
    }


async def describe_transactions(broker: Broker, request: Any, header: Header) -> Answer:
    """State, producer and partitions of transactional ids."""
    return {"transaction_states": [_described(broker, name) for name in request.transactional_ids]}


def _described(broker: Broker, name: str) -> Answer:
    found = broker.coordinator.transactions.by_id.get(name)
    if found is None:
        return {"transactional_id": name, "error_code": Code.TRANSACTIONAL_ID_NOT_FOUND}
    is_ongoing = found.state is State.ONGOING
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(found.partitions) if is_ongoing else ():
        topics.setdefault(topic, []).append(partition)
    return {
        "transactional_id": name,
        "transaction_state": found.state.value,
        "transaction_timeout_ms": found.timeout_ms,
        "transaction_start_time_ms": found.started_ms if is_ongoing else -1,
        "producer_id": found.producer_id,
        "producer_epoch": found.epoch,
        "topics": [{"topic": topic, "partitions": partitions} for topic, partitions in topics.items()],
    }
