"""Something between a client and a server that does, once each, what a test has written down: a lost answer, an error.

Answers that tell where the server is are changed to lead here, so that no client finds a way around it.
"""

import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from tests.contracts.kafka.kafka_wire import filled, schema

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, FIND_COORDINATOR, CREATE_TOPICS = 0, 1, 2, 3, 8, 10, 19
_NAMES = {PRODUCE: "Produce", FETCH: "Fetch", METADATA: "Metadata", OFFSET_COMMIT: "OffsetCommit"}
_NAMES |= {FIND_COORDINATOR: "FindCoordinator"}


class Act(NamedTuple):
    """What happens to the next request of this kind: "lose" its answer with the connection, after the server has done
    it; or answer with this error code, in each partition or for each coordinator, and the server never hears of it."""

    api_key: int
    what: Literal["lose"] | int


class Scripted:
    """Listens on a free port of its own. `done` are the acts that have happened."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.partition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.script: list[Act] = []
        self.done: list[Act] = []
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.append(client)
        with suppress(OSError), client, socket.create_connection(self._server) as server:
            self._open.append(server)
            self._converse(client, server)

    def _converse(self, client: socket.socket, server: socket.socket) -> None:
        """One request at a time: the next one is read when the last one is answered."""
        with suppress(EOFError):
            requests, answers = client.makefile("rb"), server.makefile("rb")
            while True:
                frame = _frame(requests)
                api_key, version, _ = struct.unpack_from(">hhi", frame)
                act = self._next(api_key)
                if act is not None and act.what != "lose":
                    client.sendall(_refused(frame, int(act.what)))
                    continue
                server.sendall(struct.pack(">i", len(frame)) + frame)
                if api_key == PRODUCE and _request(frame).acks == 0:
                    continue
                answer = _frame(answers)
                if act is not None:
                    return
                if api_key in (METADATA, FIND_COORDINATOR):
                    answer = self._led_here(api_key, version, answer)
                client.sendall(struct.pack(">i", len(answer)) + answer)

    def _next(self, api_key: int) -> Act | None:
        with self._lock:
            found = next((act for act in self.script if act.api_key == api_key), None)
            if found is not None:
                self.script.remove(found)
                self.done.append(found)
            return found

    def _led_here(self, api_key: int, version: int, frame: bytes) -> bytes:
        """The same answer, with this place as that of the server."""
        answer = schema(f"{_NAMES[api_key]}Response").decode(frame, version=version, header=True)
        rows = answer.brokers if api_key == METADATA else answer.coordinators if version >= 4 else [answer]
        for row in rows:
            row.port = self.port
        correlation_id = struct.unpack_from(">i", frame)[0]
        answer._header = None  # it was read, and cannot be written as it is
        answer.API_VERSION = version
        answer.with_header(correlation_id=correlation_id)
        return bytes(answer.encode(header=True))


def _frame(stream: Any) -> bytes:
    size = stream.read(4)
    if len(size) < 4:
        raise EOFError
    return bytes(stream.read(struct.unpack(">i", size)[0]))


def _request(frame: bytes) -> Any:
    api_key, version = struct.unpack_from(">hh", frame)
    return schema(f"{_NAMES[api_key]}Request").decode(frame, version=version, header=True)


def _refused(frame: bytes, code: int) -> bytes:
    """The framed answer to a request: this error in all that it names."""
    api_key, version, correlation_id = struct.unpack_from(">hhi", frame)
    request = _request(frame)
    if api_key == PRODUCE:
        rows = [
            {"name": topic.name, "partition_responses": [
                {"index": row.index, "error_code": code, "base_offset": -1} for row in topic.partition_data
            ]} for topic in request.topic_data
        ]  # fmt: skip
        body = {"responses": rows}
    elif api_key == OFFSET_COMMIT:
        rows = [
            {"name": topic.name, "partitions": [
                {"partition_index": row.partition_index, "error_code": code} for row in topic.partitions
            ]} for topic in request.topics
        ]  # fmt: skip
        body = {"topics": rows}
    elif api_key == FIND_COORDINATOR:
        row = {"error_code": code, "node_id": -1, "host": "", "port": -1}
        body = {"coordinators": [row | {"key": key} for key in request.coordinator_keys]} if version >= 4 else row
    else:
        rows = [
            {"topic": topic.topic, "partitions": [
                {"partition_index": row.partition, "error_code": code, "high_watermark": -1, "records": b""}
                for row in topic.partitions
            ]} for topic in request.topics
        ]  # fmt: skip
        body = {"responses": rows}
    answer = filled(schema(f"{_NAMES[api_key]}Response"), version, body)
    answer.with_header(correlation_id=correlation_id)
    return bytes(answer.encode(header=True, framed=True))
