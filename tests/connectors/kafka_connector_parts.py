"""A development broker as a child process, and the thread of a component, for the tests of the Kafka connectors."""

import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

import stormline
from stormline.connectors.brokers import Brokers

SOURCE = Path(stormline.__path__[0]).parent
WAIT_S = 60


class Broker:
    """Started when made; `kill` and `start` again keep the port and the data."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        self._directory = directory
        self.port = port
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def brokers(self) -> Brokers:
        return Brokers(self.address)

    def start(self) -> None:
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stormline.embedded.kafka", "--directory", str(self._directory)]
            + ["--port", str(self.port), "--ready-fd", str(write_end)],
            pass_fds=[write_end],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
        )
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            assert select.select([ready], [], [], WAIT_S)[0], "the broker is not ready in time"
            self.port = int(ready.readline())

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(WAIT_S)


@pytest.fixture(scope="module")
def broker_fixture(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.kill()


@pytest.fixture
def topic_fixture(request):
    """A name of its own for each test, so that they can share a broker."""
    return request.node.name.replace("[", "-").replace("]", "")


class Inbox:
    """A component's thread: what is posted runs only inside `until`. `events` is what `on_event` was given."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.post = self._posted.put
        self.events: list = []

    @property
    def waiting(self) -> int:
        return self._posted.qsize()

    def hold(self) -> Callable[[], None]:
        """The next posted call, not run yet."""
        return self._posted.get(timeout=WAIT_S)

    def until(self, condition: Callable[[], bool], within_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"not in time; the last events: {self.events[-3:]}"
            try:
                self._posted.get(timeout=left)()
            except queue.Empty:
                continue

    def next(self, kind: type, within_s: float = WAIT_S):
        """The next event of a kind that has not been looked at yet; those before it are left out."""
        found = [None]

        def is_there() -> bool:
            while self.events:
                event = self.events.pop(0)
                if isinstance(event, kind):
                    found[0] = event
                    return True
            return False

        self.until(is_there, within_s)
        return found[0]


def produce(broker: Broker, topic: str, partition: int, values: list[bytes], **more) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.address)
    for value in values:
        producer.send(topic, value=value, partition=partition, **more)
    producer.flush(WAIT_S)
    producer.close()


def records_of(broker: Broker, topic: str, partitions: int) -> dict[int, list]:
    """All records of a topic, by a client with its own decoder."""
    consumer = KafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest")
    addresses = [TopicPartition(topic, number) for number in range(partitions)]
    consumer.assign(addresses)
    ends = consumer.end_offsets(addresses)
    found: dict[int, list] = {number: [] for number in range(partitions)}
    deadline = time.monotonic() + WAIT_S
    while any(consumer.position(address) < end for address, end in ends.items()):
        assert time.monotonic() < deadline
        for address, records in consumer.poll(timeout_ms=500).items():
            found[address.partition] += records
    consumer.close()
    return found
