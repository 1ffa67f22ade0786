"""The requests about records: produce, fetch, look up offsets, delete, and the id of an idempotent producer."""

import asyncio
from typing import Any

from stormline.embedded.kafka import batches
from stormline.embedded.kafka.broker import LEADER_EPOCH, Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.errors import Code, RefusedError, attempt
from stormline.embedded.kafka.log import Log

Answer = dict[str, Any]
_LARGEST_ANSWER = 8 << 20  # bytes of records in one fetch answer, whatever the client allows: it bounds our memory
_LATEST, _EARLIEST, _MAX_TIMESTAMP = -1, -2, -3


async def produce(broker: Broker, request: Any, header: Header) -> Answer | None:
    """Append each partition's batch. With acks=0 nobody waits for an answer: a failure closes the connection."""
    answer = {"responses": [
        {"name": topic.name, "partition_responses": [
            attempt({"index": row.index, "base_offset": -1}, _append, broker, request.acks, topic.name, row)
            for row in topic.partition_data
        ]} for topic in request.topic_data
    ]}  # fmt: skip
    if request.acks != 0:
        return answer
    for topic in answer["responses"]:
        for row in topic["partition_responses"]:
            if "error_code" in row:
                raise ConnectionAbortedError(f"a batch sent with acks=0 was refused: {row['error_message']}")
    return None


def _append(broker: Broker, acks: int, topic: str, row: Any) -> Answer:
    if acks not in (-1, 0, 1):
        raise RefusedError(Code.INVALID_REQUIRED_ACKS, f"acks is 0, 1 or -1 (all), not {acks}")
    log = broker.catalog.log(topic, row.index)
    batch = batches.accept(row.records, log.limits.max_message_bytes)
    return {"base_offset": broker.stored(log.append, row.records, batch), "log_start_offset": log.start}


async def fetch(broker: Broker, request: Any, header: Header) -> Answer:
    """Whole batches from the asked offsets on; waits for `min_bytes` of them, but not longer than `max_wait_ms`.

    There are no fetch sessions: every answer has session 0, so that every request names all its partitions.
    """
    if request.session_id != 0:
        raise RefusedError(Code.FETCH_SESSION_ID_NOT_FOUND, "there are no fetch sessions")
    await _wait_for_enough(broker, request)
    budget = min(request.max_bytes, _LARGEST_ANSWER)
    is_empty = True

    def read(topic: str, row: Any) -> Answer:
        nonlocal budget, is_empty
        log = broker.catalog.log(topic, row.partition)
        wanted = max(min(row.partition_max_bytes, budget), 0)
        records = log.read(row.fetch_offset, wanted, at_least_one=is_empty)  # else a large batch blocks its reader
        budget -= len(records)
        is_empty = is_empty and not records
        return {
            "high_watermark": log.end,
            "last_stable_offset": log.end,
            "log_start_offset": log.start,
            "records": records,
        }

    return {"responses": [
        {"topic": topic.topic, "partitions": [
            attempt({"partition_index": row.partition, "high_watermark": -1}, read, topic.topic, row)
            for row in topic.partitions
        ]} for topic in request.topics
    ]}  # fmt: skip


async def _wait_for_enough(broker: Broker, request: Any) -> None:
    """Return when the answer has enough bytes or an error to tell, or when its time is up."""
    until = asyncio.get_running_loop().time() + request.max_wait_ms / 1000
    grown = asyncio.Event()
    watched: set[Log] = set()
    try:
        while not _has_enough(broker, request, watched):
            for log in watched:
                log.waiters.add(grown)
            async with asyncio.timeout_at(until):
                await grown.wait()
            grown.clear()
    except TimeoutError:
        pass
    finally:
        for log in watched:
            log.waiters.discard(grown)


def _has_enough(broker: Broker, request: Any, watched: set[Log]) -> bool:
    size = 0
    for topic in request.topics:
        for row in topic.partitions:
            try:
                log = broker.catalog.log(topic.topic, row.partition)
                size += log.available(row.fetch_offset)
            except RefusedError:
                return True
            watched.add(log)
    return size >= int(request.min_bytes)


async def list_offsets(broker: Broker, request: Any, header: Header) -> Answer:
    """The earliest or the next offset, the first one not older than a time, or that of the newest record."""
    return {"topics": [
        {"name": topic.name, "partitions": [
            attempt({"partition_index": row.partition_index}, _look_up, broker, topic.name, row)
            for row in topic.partitions
        ]} for topic in request.topics
    ]}  # fmt: skip


def _look_up(broker: Broker, topic: str, row: Any) -> Answer:
    log = broker.catalog.log(topic, row.partition_index)
    if row.timestamp == _LATEST:
        found = log.end, -1
    elif row.timestamp == _EARLIEST:
        found = log.start, -1
    elif row.timestamp == _MAX_TIMESTAMP:
        found = log.latest() or (-1, -1)
    elif row.timestamp < 0:
        raise RefusedError(Code.UNSUPPORTED_VERSION, f"{row.timestamp} is no time this broker can look up")
    else:
        found = log.first_at(row.timestamp) or (-1, -1)
    offset, timestamp = found
    return {"offset": offset, "timestamp": timestamp, "leader_epoch": LEADER_EPOCH if offset >= 0 else -1}


async def delete_records(broker: Broker, request: Any, header: Header) -> Answer:
    """Move the first offset of partitions up."""
    return {"topics": [
        {"name": topic.name, "partitions": [
            attempt({"partition_index": row.partition_index, "low_watermark": -1},
                    _trim, broker, topic.name, row)
            for row in topic.partitions
        ]} for topic in request.topics
    ]}  # fmt: skip


def _trim(broker: Broker, topic: str, row: Any) -> Answer:
    return {"low_watermark": broker.stored(broker.catalog.trim, topic, row.partition_index, row.offset)}


async def init_producer_id(broker: Broker, request: Any, header: Header) -> Answer:
    """A new producer id, epoch 0. A transactional producer is refused."""
    if request.transactional_id is not None:
        raise RefusedError(Code.INVALID_TXN_STATE, "this development broker has no transactions")
    return {"producer_id": broker.stored(broker.catalog.new_producer_id), "producer_epoch": 0}
