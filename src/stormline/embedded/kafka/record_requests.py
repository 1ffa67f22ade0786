"""The requests about records: produce, fetch, look up offsets, delete."""

import asyncio
from typing import Any

from stormline.embedded.kafka import batches
from stormline.embedded.kafka.broker import LEADER_EPOCH, Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.errors import Code, RefusedError, attempt
from stormline.embedded.kafka.log import Log

Answer = dict[str, Any]
_LARGEST_ANSWER = 8 << 20  # bytes of records in one fetch answer, whatever the client allows: it bounds our memory
_READ_COMMITTED = 1
_LATEST, _EARLIEST, _MAX_TIMESTAMP = -1, -2, -3


async def produce(broker: Broker, request: Any, header: Header) -> Answer | None:
    """Append each partition's batch. With acks=0 nobody waits for an answer: a failure closes the connection."""
    answer = {"responses": [
        {"name": topic.name, "partition_responses": [
            attempt({"index": row.index, "base_offset": -1}, _append, broker, request, topic.name, row)
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


def _append(broker: Broker, request: Any, topic: str, row: Any) -> Answer:
    if request.acks not in (-1, 0, 1):
        raise RefusedError(Code.INVALID_REQUIRED_ACKS, f"acks is 0, 1 or -1 (all), not {request.acks}")
    log = broker.catalog.log(topic, row.index)
    batch = batches.accept(row.records, log.limits.max_message_bytes)
    if batch.is_transactional and log.producers.check(batch) is None:  # a copy may come after the end
        producer = (request.transactional_id, batch.producer_id, batch.producer_epoch)
        broker.coordinator.check_append(*producer, (topic, row.index))
    base_offset, stored_ms = broker.stored(log.append, row.records, batch)
    return {"base_offset": base_offset, "log_append_time_ms": stored_ms, "log_start_offset": log.start}


def _check_epoch(epoch: int) -> None:
    """RefusedError where the client believes in another leader epoch than the one there is."""
    if epoch > LEADER_EPOCH:
        raise RefusedError(Code.UNKNOWN_LEADER_EPOCH, f"the leader epoch is {LEADER_EPOCH}, {epoch} came")


async def fetch(broker: Broker, request: Any, header: Header) -> Answer:
    """Whole batches from the asked offsets on; waits for `min_bytes` of them, but not longer than `max_wait_ms`.

    There are no fetch sessions: every answer has session 0, so that every request names all its partitions.
    """
    if request.session_id != 0:
        raise RefusedError(Code.FETCH_SESSION_ID_NOT_FOUND, "there are no fetch sessions")
    await _wait_for_enough(broker, request)
    budget = min(request.max_bytes, _LARGEST_ANSWER)
    committed_only = request.isolation_level == _READ_COMMITTED
    is_empty = True

    def read(topic: str, row: Any) -> Answer:
        nonlocal budget, is_empty
        log = broker.catalog.log(topic, row.partition)
        _check_epoch(row.current_leader_epoch)
        wanted = max(min(row.partition_max_bytes, budget), 0)
        # Without `at_least_one` a large batch would block its reader.
        records = log.read(row.fetch_offset, wanted, at_least_one=is_empty, committed_only=committed_only)
        budget -= len(records)
        is_empty = is_empty and not records
        aborted = [
            {"producer_id": each.producer_id, "first_offset": each.first_offset}
            for each in (log.aborted(row.fetch_offset, records) if committed_only else ())
        ]
        return {
            "high_watermark": log.end,
            "last_stable_offset": log.last_stable_offset,
            "log_start_offset": log.start,
            "aborted_transactions": aborted if committed_only else None,
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
                _check_epoch(row.current_leader_epoch)
                size += log.available(row.fetch_offset, committed_only=request.isolation_level == _READ_COMMITTED)
            except RefusedError:
                return True
            watched.add(log)
    return size >= int(request.min_bytes)


async def list_offsets(broker: Broker, request: Any, header: Header) -> Answer:
    """The earliest or the next offset, the first one not older than a time, or that of the newest record."""
    committed_only = header.version >= 2 and request.isolation_level == _READ_COMMITTED
    return {"topics": [
        {"name": topic.name, "partitions": [
            attempt({"partition_index": row.partition_index}, _look_up, broker, topic.name, row, committed_only)
            for row in topic.partitions
        ]} for topic in request.topics
    ]}  # fmt: skip


def _look_up(broker: Broker, topic: str, row: Any, committed_only: bool) -> Answer:
    log = broker.catalog.log(topic, row.partition_index)
    _check_epoch(row.current_leader_epoch)
    if row.timestamp == _LATEST:
        found = log.last_stable_offset if committed_only else log.end, -1
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


async def offset_for_leader_epoch(broker: Broker, request: Any, header: Header) -> Answer:
    """Where a leader epoch ends. There is one epoch here, and it goes on."""
    return {"topics": [
        {"topic": topic.topic, "partitions": [
            attempt({"partition": row.partition}, _epoch_end, broker, topic.topic, row) for row in topic.partitions
        ]} for topic in request.topics
    ]}  # fmt: skip


def _epoch_end(broker: Broker, topic: str, row: Any) -> Answer:
    log = broker.catalog.log(topic, row.partition)
    _check_epoch(row.current_leader_epoch)
    return {"leader_epoch": LEADER_EPOCH, "end_offset": log.end} if row.leader_epoch == LEADER_EPOCH else {}
