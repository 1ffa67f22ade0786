"""The broker as a process: how it starts, stops, is killed, and lives with a full disk."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError
from kafka.protocol.metadata import ApiVersionsResponse
from kafka.protocol.producer import InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse

from tests.contracts.kafka.client_kafka_python import KafkaPython
from tests.contracts.kafka.kafka_clients import Sent
from tests.contracts.kafka.kafka_servers import WAIT_S, EmbeddedKafka
from tests.embedded.kafka.kafka_batches import made

STORAGE_ERROR, OUT_OF_ORDER = 56, 45
needs_prlimit = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit another process")


class Broker:
    """A directory, and the broker that runs on it now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = EmbeddedKafka(directory)

    def restart(self, number: int = signal.SIGKILL) -> None:
        self.server.end(number)
        self.server = EmbeddedKafka(self.directory)
        assert self.server.port

    @property
    def client(self) -> KafkaPython:
        return KafkaPython(self.server.bootstrap)

    def create(self, *topics: str, **configs: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.server.bootstrap)
        admin.create_topics({name: {"num_partitions": 2, "configs": configs} for name in topics})
        admin.close()

    def ask(self, request: Any, answer: Any) -> Any:
        """One request over a connection of its own."""
        if request.header is None:
            request.with_header(correlation_id=1)
        with socket.create_connection(("127.0.0.1", self.server.port), WAIT_S) as connection:
            connection.sendall(request.encode(header=True, framed=True))
            with connection.makefile("rb") as stream:
                size = int.from_bytes(stream.read(4))
                return answer.decode(stream.read(size), version=request.API_VERSION, header=True)

    def produce(self, topic: str, content: bytes) -> tuple[int, int]:
        """Error code and base offset of one batch to partition 0."""
        answer = self.ask(produce_request(topic, content), ProduceResponse)
        (partition,) = answer.responses[0].partition_responses
        return partition.error_code, partition.base_offset

    def limit_files(self, size: int) -> None:
        """No file of the broker may become larger than this: to it the disk is full there."""
        resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def produce_request(topic: str, content: bytes, acks: int = -1) -> Any:
    """A request with one batch for partition 0."""
    row = ProduceRequest.TopicProduceData.PartitionProduceData(version=9, index=0, records=content)
    topics = [ProduceRequest.TopicProduceData(version=9, name=topic, partition_data=[row])]
    request = ProduceRequest[9](transactional_id=None, acks=acks, timeout_ms=1000, topic_data=topics)
    request.with_header(correlation_id=1)
    return request


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker that never falls over its own feet."""
    broker = Broker(tmp_path / "kafka")
    yield broker
    if broker.server.process.poll() is None:
        assert broker.server.end() == 0
    assert "Traceback" not in broker.server.stderr, broker.server.stderr


def test_what_is_acknowledged_survives_a_kill(broker: Broker) -> None:
    """Records, topics and commits that were answered are there after SIGKILL, and again after a stop in order."""
    broker.create("t")
    sent = [Sent(b"%d" % i, partition=i % 2, timestamp=i) for i in range(2000)]
    broker.client.send("t", sent)
    broker.client.commit("g", "t", 7, "seven")

    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        broker.restart(number)

        for partition in (0, 1):
            got = broker.client.read("t", 1000, partition=partition)
            assert [row.value for row in got] == [b"%d" % i for i in range(partition, 2000, 2)]
        assert broker.client.committed("g", "t") == (7, "seven")
        assert broker.client.bounds("t") == (0, 1000)


def test_a_kill_in_the_middle_of_writing_loses_nothing_acknowledged(broker: Broker) -> None:
    """Killed while requests wait, the log has every acknowledged record once, in order, and no half batch."""
    broker.create("t")
    requests = [produce_request("t", made([i])).encode(header=True, framed=True) for i in range(400)]
    acknowledged = 0
    address = ("127.0.0.1", broker.server.port)
    with socket.create_connection(address, WAIT_S) as connection, connection.makefile("rb") as answers:
        for i, request in enumerate(requests):
            connection.sendall(request)
            if i >= 50:  # so many are always under way
                answers.read(int.from_bytes(answers.read(4)))
                acknowledged += 1
        broker.server.process.kill()
        with contextlib.suppress(ConnectionResetError):
            while size := answers.read(4):
                acknowledged += len(answers.read(int.from_bytes(size))) > 0

    broker.restart()

    _, end = broker.client.bounds("t")
    assert 350 <= acknowledged <= end <= 400
    assert [row.timestamp for row in broker.client.read("t", end)] == list(range(end))


def test_a_repeated_request_is_known_after_a_kill(broker: Broker) -> None:
    """A producer that never saw its answer sends again to the new process, and the batch is there once."""
    broker.create("t")
    first, second = made([1, 2], producer=3, sequence=0), made([1], producer=3, sequence=2)
    assert broker.produce("t", first) == (0, 0)
    assert broker.produce("t", second) == (0, 2)

    broker.restart()

    assert broker.produce("t", first) == (0, 0)
    assert broker.produce("t", second) == (0, 2)
    assert broker.produce("t", made([1], producer=3, sequence=9)) == (OUT_OF_ORDER, -1)
    assert broker.produce("t", made([1], producer=3, sequence=3)) == (0, 3)


@needs_prlimit
def test_a_full_disk_is_told_and_survived(broker: Broker) -> None:
    """Without room producers get a storage error and commits fail; nothing is half written; with room it goes on."""
    broker.create("t")
    good = made([1], size=1000)
    assert broker.produce("t", good) == (0, 0)
    broker.limit_files(1500)

    assert [broker.produce("t", good) for _ in range(3)] == [(STORAGE_ERROR, -1)] * 3
    assert broker.client.bounds("t") == (0, 1)
    assert [len(row.value) for row in broker.client.read("t", 1)] == [1000]
    (said,) = (line for line in broker.server.stderr.splitlines() if "until there is room" in line)
    assert str(broker.directory) in said

    broker.limit_files(resource.RLIM_INFINITY)
    assert broker.produce("t", good) == (0, 1)
    broker.restart()
    assert "cut" not in broker.server.stderr
    assert broker.client.bounds("t") == (0, 2)


@needs_prlimit
def test_a_commit_without_room_fails_and_leaves_the_old_one(broker: Broker) -> None:
    """The client retries until there is room; the earlier commit stays true meanwhile."""
    broker.create("t")
    broker.client.commit("g", "t", 1, "")
    broker.limit_files((broker.directory / "groups.journal").stat().st_size + 10)
    admin = KafkaAdminClient(bootstrap_servers=broker.server.bootstrap)
    changed = admin.alter_group_offsets("g", {TopicPartition("t", 0): OffsetAndMetadata(2, "", -1)})
    assert [error.__name__ for error in changed.values()] == ["CoordinatorNotAvailableError"]
    assert broker.client.committed("g", "t") == (1, "")

    broker.limit_files(resource.RLIM_INFINITY)
    broker.client.commit("g", "t", 3, "")
    admin.close()
    broker.restart()
    assert broker.client.committed("g", "t") == (3, "")


@needs_prlimit
def test_a_topic_without_room_is_not_half_created(broker: Broker) -> None:
    """A creation that cannot be written down fails, leaves no directory, and can be tried again."""
    broker.create("t")
    broker.limit_files((broker.directory / "topics.journal").stat().st_size + 10)
    with pytest.raises(KafkaError):
        broker.create("u")
    assert len(list((broker.directory / "topics").iterdir())) == 1

    broker.limit_files(resource.RLIM_INFINITY)
    broker.create("u")
    assert broker.client.send("u", [Sent(b"x")]) == [0]


def test_one_directory_has_one_broker(broker: Broker) -> None:
    """A second broker on the same directory says who holds it and ends with 2; the first goes on."""
    status, said = run_to_its_end("--directory", str(broker.directory))

    assert status == 2
    assert str(broker.directory) in said
    assert f"process {broker.server.process.pid}" in said
    broker.create("t")


def test_a_port_in_use_is_named(broker: Broker, tmp_path: Path) -> None:
    """A broker that cannot listen says which port it was and ends with 2."""
    port = str(broker.server.port)

    status, said = run_to_its_end("--directory", str(tmp_path / "other"), "--port", port)

    assert status == 2
    assert port in said
    assert "in use" in said
    assert "Traceback" not in said


def test_a_broker_says_that_it_is_for_development(broker: Broker) -> None:
    """In the first line of what it says, with the address and the directory."""
    first = broker.server.stderr.splitlines()[0]

    assert "for development, not for production" in first
    assert broker.server.bootstrap in first
    assert str(broker.directory) in first


@pytest.mark.parametrize("name", ["topics.journal", "groups.journal", "transactions.journal"])
@pytest.mark.parametrize("checked", [True, False], ids=["nonsense", "checksum"])
def test_a_damaged_journal_is_named_with_what_to_do(broker: Broker, name: str, checked: bool) -> None:
    """The broker does not start, and says which file it is, where, and what can be done."""
    broker.create("t")
    assert broker.server.end() == 0
    text = b'["never heard of"]'
    with (broker.directory / name).open("ab") as journal:
        journal.write(b"%08x %s\n" % (zlib.crc32(text) if checked else 1, text))

    status, said = run_to_its_end("--directory", str(broker.directory))

    assert status == 2
    assert re.search(rf"{name} .*line \d+.*from a backup, or move", said), said
    assert "Traceback" not in said


@needs_prlimit
def test_a_disk_that_takes_no_word_either_ends_no_connection(broker: Broker) -> None:
    """Where the log cannot be written any more, clients still get their errors, and are served when there is room."""
    broker.create("t")
    batch = made([1])
    broker.limit_files(1)

    assert [broker.produce("t", batch) for _ in range(3)] == [(STORAGE_ERROR, -1)] * 3

    broker.limit_files(resource.RLIM_INFINITY)
    assert broker.produce("t", batch) == (0, 0)


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A data directory that is a file is named, and the exit status is 2."""
    (tmp_path / "file").touch()

    status, said = run_to_its_end("--directory", str(tmp_path / "file"))

    assert status == 2
    assert str(tmp_path / "file") in said


def run_to_its_end(*arguments: str) -> tuple[int, str]:
    """Exit status and stderr of a broker that does not get to run."""
    import stormline.embedded.kafka

    source = Path(stormline.embedded.kafka.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "stormline.embedded.kafka", *arguments],
        env=os.environ | {"PYTHONPATH": str(source)}, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_the_port_goes_to_stdout_without_a_descriptor(tmp_path: Path) -> None:
    """Started by hand, the broker prints its port as a line; Ctrl-C ends it with 0."""
    import stormline.embedded.kafka

    source = Path(stormline.embedded.kafka.__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-m", "stormline.embedded.kafka", "--directory", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(source)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    port = int(process.stdout.readline())
    socket.create_connection(("127.0.0.1", port), WAIT_S).close()

    process.send_signal(signal.SIGINT)

    assert process.wait(WAIT_S) == 0
    process.stdout.close()


def test_an_unknown_version_of_the_first_question_is_answered(broker: Broker) -> None:
    """A client from the future asks ApiVersions in a version we do not know and gets version 0 with error 35."""
    with socket.create_connection(("127.0.0.1", broker.server.port), WAIT_S) as connection:
        body = b"\x00\x12\x00\x63" + b"\x00\x00\x00\x07" + b"\xff\xff" + b"what is this"
        connection.sendall(len(body).to_bytes(4) + body)
        with connection.makefile("rb") as stream:
            answer = stream.read(int.from_bytes(stream.read(4)))

    assert answer[:4] == b"\x00\x00\x00\x07"
    decoded = ApiVersionsResponse.decode(answer[4:], version=0)
    assert decoded.error_code == 35
    assert {0, 1, 3, 18} <= {row.api_key for row in decoded.api_keys}


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x08" + bytes(8),
        b"\x00\x00\x00\x0a\x03\xe7" + bytes(8),
    ],
    ids=["http", "negative", "cut short", "unknown api"],
)
def test_nonsense_closes_its_connection_only(tmp_path: Path, sent: bytes) -> None:
    """What is no Kafka request ends that connection; the broker says so in a line and serves the others."""
    broker = Broker(tmp_path)
    with socket.create_connection(("127.0.0.1", broker.server.port), WAIT_S) as connection:
        connection.sendall(sent)
        assert connection.recv(100) == b""

    broker.create("t")
    assert broker.server.end() == 0
    assert "closed a connection" in broker.server.stderr
    assert "Traceback" not in broker.server.stderr


def test_producer_ids_are_new_after_a_kill(broker: Broker) -> None:
    """Two producers of two lives of the broker never have the same id."""
    request = {"transactional_id": None, "transaction_timeout_ms": 1000}
    first = broker.ask(InitProducerIdRequest[2](**request), InitProducerIdResponse).producer_id
    broker.restart()
    second = broker.ask(InitProducerIdRequest[2](**request), InitProducerIdResponse).producer_id

    assert second > first >= 0


def test_a_batch_refused_without_acknowledgement_closes_the_connection(broker: Broker) -> None:
    """With acks=0 no error can be answered, so the producer sees its connection end."""
    broker.create("t")
    request = produce_request("t", b"broken", acks=0)
    with socket.create_connection(("127.0.0.1", broker.server.port), WAIT_S) as connection:
        connection.sendall(request.encode(header=True, framed=True))
        assert connection.recv(100) == b""


def test_retention_deletes_while_records_come(broker: Broker) -> None:
    """A topic with retention.bytes stays within it and two segments more; reading begins where it now begins."""
    broker.create("t", **{"segment.bytes": "5000", "retention.bytes": "10000"})
    for _ in range(30):
        broker.produce("t", made([1], size=900))

    low, high = broker.client.bounds("t")

    assert high == 30
    assert 10 <= low <= 20
    (directory,) = (broker.directory / "topics").iterdir()
    assert sum(path.stat().st_size for path in (directory / "0").glob("*.log")) <= 20_000
    assert broker.client.read("t", high - low, start=low)[0].offset == low
