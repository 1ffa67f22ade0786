"""Requests as they go over the wire, for what no client lets a test ask."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import kafka  # noqa: F401 - with it come the messages of its clients
from kafka.protocol.api_message import ApiMessage

from tests.contracts.kafka.kafka_member import WAIT_S, wait_until


@cache
def schema(name: str) -> Any:
    """The message of that name: kafka-python's own where it has one, for making another takes the place of it."""
    own = {found.__name__: found for found in ApiMessage.__subclasses__()}
    make: Any = type(ApiMessage)
    return own.get(name) or make(name, (ApiMessage,), {})


def filled(container: Any, version: int, values: dict[str, Any]) -> Any:
    """A message from nested dicts and lists of dicts."""
    made = {}
    for name, value in values.items():
        field = container._struct.fields[name]
        is_list = field.is_struct_array() and value is not None
        made[name] = [filled(field.data_class, version, row) for row in value] if is_list else value
    return container(version=version, **made)


class Wire:
    """One connection, one request at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._stream = connection.makefile("rb")

    def ask(self, name: str, version: int, **body: Any) -> Any:
        """The answer to a request: an object with the schema's fields in snake case."""
        request = filled(schema(f"{name}Request"), version, body)
        request.with_header(correlation_id=7, client_id="contract")
        self.connection.sendall(request.encode(header=True, framed=True))
        frame = self.frame()
        assert frame is not None, f"the server closed the connection at {name} version {version}"
        return schema(f"{name}Response").decode(frame, version=version, header=True)

    def send(self, api_key: int, version: int, body: bytes) -> None:
        """Any bytes under a request's header of the oldest kind."""
        frame = struct.pack(">hhih", api_key, version, 7, -1) + body
        self.connection.sendall(struct.pack(">i", len(frame)) + frame)

    def frame(self) -> bytes | None:
        """The next answer; None if the server has closed the connection."""
        try:
            size = self._stream.read(4)
        except ConnectionResetError:
            return None
        return self._stream.read(struct.unpack(">i", size)[0]) if size else None

    def produce(self, topic: str, batch: bytes, *, name: str | None = None, acks: int = -1) -> Any:
        """The answer for one batch to partition 0, under a transactional id or none."""
        rows = [{"name": topic, "partition_data": [{"index": 0, "records": batch}]}]
        answer = self.ask("Produce", 9, transactional_id=name, acks=acks, timeout_ms=5000, topic_data=rows)
        return answer.responses[0].partition_responses[0]

    def fetch(self, topic: str, offset: int, *, committed_only: bool = False, epoch: int = -1, **limits: int) -> Any:
        """The answer for partition 0. `limits`: max_wait_ms, min_bytes, max_bytes, partition_max_bytes."""
        row = {"partition": 0, "fetch_offset": offset, "current_leader_epoch": epoch}
        row |= {"partition_max_bytes": limits.pop("partition_max_bytes", 1 << 20)}
        wanted = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 25} | limits
        answer = self.ask(
            "Fetch", 12, isolation_level=int(committed_only), session_id=0, session_epoch=-1,
            topics=[{"topic": topic, "partitions": [row]}], **wanted,
        )  # fmt: skip
        return answer.responses[0].partitions[0]

    def offset(
        self, topic: str, timestamp: int, *, partition: int = 0, committed_only: bool = False, epoch: int = -1
    ) -> Any:
        """The answer of ListOffsets. `timestamp` -1: the end, -2: the start, -3: the newest record."""
        row = {"partition_index": partition, "timestamp": timestamp, "current_leader_epoch": epoch}
        answer = self.ask(
            "ListOffsets",
            7,
            replica_id=-1,
            isolation_level=int(committed_only),
            topics=[{"name": topic, "partitions": [row]}],
        )
        return answer.topics[0].partitions[0]


def await_topic(wire: Wire, topic: str, partitions: int) -> None:
    """Until the partitions of a topic that was just made have their leader."""
    for partition in range(partitions):
        wait_until(lambda: wire.offset(topic, -1, partition=partition).error_code == 0)  # noqa: B023


@contextmanager
def connected(bootstrap: str) -> Iterator[Wire]:
    host, _, port = bootstrap.partition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as connection:
        yield Wire(connection)
