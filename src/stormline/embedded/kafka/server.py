"""The broker on a socket: framed requests in, framed answers out, one at a time on each connection, as Kafka does."""

import asyncio
import struct
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from stormline.embedded.kafka import (
    codec,
    config_requests,
    group_requests,
    offset_requests,
    record_requests,
    topic_requests,
    transaction_requests,
)
from stormline.embedded.kafka.broker import HOST, Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.errors import Code, RefusedError, tell

_SIZE = struct.Struct(">i")
_LARGEST_REQUEST = 100 << 20  # bytes; Kafka's socket.request.max.bytes
_READ_AHEAD = 1 << 20

Handler = Callable[[Broker, Any, Header], Awaitable[dict[str, Any] | None]]


class Api(NamedTuple):
    """A request this broker answers: its schema's name and the versions it takes.

    The handler gives the answer's fields, or None for no answer; RefusedError becomes an answer of that alone.
    """

    name: str
    first: int
    last: int
    handle: Handler


async def api_versions(broker: Broker, request: Any, header: Header) -> dict[str, Any]:
    """What this broker answers."""
    rows = [{"api_key": key, "min_version": api.first, "max_version": api.last} for key, api in APIS.items()]
    return {"api_keys": rows}


# The newest versions are those that still name topics; the topic ids of later ones would gain nothing here.
APIS = {
    0: Api("Produce", 3, 9, record_requests.produce),
    1: Api("Fetch", 4, 12, record_requests.fetch),
    2: Api("ListOffsets", 1, 7, record_requests.list_offsets),
    3: Api("Metadata", 0, 12, topic_requests.metadata),
    8: Api("OffsetCommit", 2, 8, offset_requests.offset_commit),
    9: Api("OffsetFetch", 1, 8, offset_requests.offset_fetch),
    10: Api("FindCoordinator", 0, 4, group_requests.find_coordinator),
    11: Api("JoinGroup", 0, 9, group_requests.join_group),
    12: Api("Heartbeat", 0, 4, group_requests.heartbeat),
    13: Api("LeaveGroup", 0, 5, group_requests.leave_group),
    14: Api("SyncGroup", 0, 5, group_requests.sync_group),
    15: Api("DescribeGroups", 0, 5, group_requests.describe_groups),
    16: Api("ListGroups", 0, 4, group_requests.list_groups),
    18: Api("ApiVersions", 0, 4, api_versions),
    19: Api("CreateTopics", 2, 7, topic_requests.create_topics),
    20: Api("DeleteTopics", 1, 6, topic_requests.delete_topics),
    21: Api("DeleteRecords", 0, 2, record_requests.delete_records),
    22: Api("InitProducerId", 0, 4, transaction_requests.init_producer_id),
    23: Api("OffsetForLeaderEpoch", 2, 4, record_requests.offset_for_leader_epoch),
    24: Api("AddPartitionsToTxn", 0, 3, transaction_requests.add_partitions_to_txn),
    25: Api("AddOffsetsToTxn", 0, 3, transaction_requests.add_offsets_to_txn),
    26: Api("EndTxn", 0, 3, transaction_requests.end_txn),
    28: Api("TxnOffsetCommit", 0, 3, transaction_requests.txn_offset_commit),
    32: Api("DescribeConfigs", 1, 4, config_requests.describe_configs),
    37: Api("CreatePartitions", 0, 3, topic_requests.create_partitions),
    42: Api("DeleteGroups", 0, 2, group_requests.delete_groups),
    44: Api("IncrementalAlterConfigs", 0, 1, config_requests.incremental_alter_configs),
    47: Api("OffsetDelete", 0, 0, offset_requests.offset_delete),
    60: Api("DescribeCluster", 0, 1, topic_requests.describe_cluster),
    65: Api("DescribeTransactions", 0, 0, transaction_requests.describe_transactions),
    66: Api("ListTransactions", 0, 0, transaction_requests.list_transactions),
}
_API_VERSIONS = 18


async def serve(broker: Broker, port: int, on_listening: Callable[[int], None], stop: asyncio.Event) -> None:
    """Answer on 127.0.0.1 until `stop` is set. Raises OSError if the port is taken or the disk cannot be synced."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_converse(broker, reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    listener = await asyncio.start_server(accept, HOST, port, limit=_READ_AHEAD)
    broker.port = listener.sockets[0].getsockname()[1]
    on_listening(broker.port)
    upkeep = asyncio.create_task(broker.upkeep())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({upkeep, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if upkeep.done():
            upkeep.result()
    finally:
        listener.close()
        for task in (upkeep, stopping, *connections):
            task.cancel()
        await asyncio.gather(upkeep, stopping, *connections, return_exceptions=True)


async def _converse(broker: Broker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
            if not 0 < size <= _LARGEST_REQUEST:
                raise ConnectionAbortedError(f"a request of {size} bytes was announced")
            answer = await _answer(broker, await reader.readexactly(size))
            if answer is not None:
                writer.write(answer)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError):
        pass  # the client has gone
    except ConnectionAbortedError as error:
        tell(f"closed a connection: {error}")
    except Exception:
        tell(f"closed a connection:\n{traceback.format_exc()}")
    finally:
        writer.close()


async def _answer(broker: Broker, frame: bytes) -> memoryview | None:
    try:
        header = codec.read_header(frame)
    except (struct.error, ValueError) as error:
        raise ConnectionAbortedError(f"no request: {error}") from error
    api = APIS.get(header.api_key)
    if api is None or not api.first <= header.version <= api.last:
        if header.api_key != _API_VERSIONS:
            raise ConnectionAbortedError(f"API {header.api_key} version {header.version} is not known here")
        known = await api_versions(broker, None, header)  # version 0 with what there is, so that it can ask again
        known["error_code"] = Code.UNSUPPORTED_VERSION
        return codec.encode("ApiVersions", 0, header.correlation_id, known)
    try:
        request = codec.decode(api.name, header, frame)
    except Exception as error:  # the schema's code meets whatever came
        raise ConnectionAbortedError(f"no {api.name} request: {error!r}") from error
    try:
        body = await api.handle(broker, request, header)
    except RefusedError as error:
        body = error.answer
    return None if body is None else codec.encode(api.name, header.version, header.correlation_id, body)
