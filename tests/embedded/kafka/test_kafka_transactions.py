"""Transactions of the broker over its own death, and below the protocol."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormline.embedded.kafka import batches, coordinator
from stormline.embedded.kafka.catalog import Catalog
from stormline.embedded.kafka.commits import Commit, Commits
from stormline.embedded.kafka.coordinator import Coordinator
from stormline.embedded.kafka.errors import Code, RefusedError
from stormline.embedded.kafka.log import Log
from stormline.embedded.kafka.transactions import State
from tests.contracts.kafka.client_kafka_python import KafkaPython
from tests.contracts.kafka.kafka_servers import EmbeddedKafka
from tests.contracts.kafka.kafka_transaction import Transactional
from tests.contracts.kafka.kafka_wire import connected
from tests.embedded.kafka.kafka_batches import made


class World:
    """Catalog, commits and coordinator on a directory, which `again` opens anew as a killed broker's successor does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open()
        self.catalog.create("t", 1, {})

    def _open(self) -> None:
        self.commits = Commits(self._directory)
        self.catalog = Catalog(self._directory, is_intact=False)
        self.coordinator = Coordinator(self._directory, self.catalog, self.commits)

    def again(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        self.commits.close()
        self.catalog.close()
        self.coordinator.transactions.close()

    @property
    def log(self) -> Log:
        return self.catalog.log("t", 0)

    @property
    def state(self) -> State:
        return self.coordinator.transactions.by_id["x"].state

    def begin(self) -> tuple[int, int]:
        """One with a record and a group's offset in it; its producer id and epoch."""
        producer = self.coordinator.producer("x", 60_000, -1, -1)
        owner = ("x", producer.producer_id, producer.epoch)
        self.coordinator.add(*owner, {("t", 0)}, "g")
        self.coordinator.hold(*owner, "g", {("t", 0): Commit(5, -1, "five")})
        content = made([1], producer=producer.producer_id, epoch=producer.epoch, transactional=True)
        self.log.append(content, batches.accept(content, 1 << 20))
        return producer.producer_id, producer.epoch


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_an_open_transaction_survives_a_kill(tmp_path: Path) -> None:
    """Its producer goes on and commits it after the broker was killed; what was aborted before stays hidden."""
    server = EmbeddedKafka(tmp_path)
    client = KafkaPython(server.bootstrap)
    with connected(server.bootstrap) as wire:
        wire.ask(
            "CreateTopics", 5, topics=[{"name": "t", "num_partitions": 1, "replication_factor": 1, "assignments": [],
            "configs": []}], timeout_ms=1000, validate_only=False,
        )  # fmt: skip
        client.transact("t", [b"hidden"], "aborted", commit=False)
        producer = Transactional(wire, "x")
        assert producer.add("t") == {"t": 0}
        assert producer.produce("t", 1) == 0
        assert producer.add_offsets("g") == 0
        assert producer.commit_offset("g", "t", 9) == 0
    server.end(signal.SIGKILL)

    server = EmbeddedKafka(tmp_path)
    client = KafkaPython(server.bootstrap)
    with connected(server.bootstrap) as wire:
        assert wire.offset("t", -1, committed_only=True).offset == 2
        producer.wire = wire
        assert producer.produce("t", 2) == 0
        assert producer.end(commit=True) == 0

    assert [row.offset for row in client.read("t", 2, committed_only=True)] == [2, 3]
    assert client.committed("g", "t") == (9, "")
    assert server.end() == 0


@pytest.mark.parametrize("commits", [True, False])
def test_what_was_decided_is_carried_out(world: World, monkeypatch: pytest.MonkeyPatch, commits: bool) -> None:
    """Killed between the decision and the markers, the broker writes them and commits the offsets at its next start."""
    producer_id, epoch = world.begin()
    monkeypatch.setattr(Coordinator, "_mark", _killed)
    with pytest.raises(KeyboardInterrupt):
        world.coordinator.end("x", producer_id, epoch, commits=commits)
    monkeypatch.undo()

    world.again()

    assert world.state is (State.COMPLETE_COMMIT if commits else State.COMPLETE_ABORT)
    assert (world.log.end, world.log.last_stable_offset) == (2, 2)
    assert len(world.log.visibility.aborted(0, 2)) == (0 if commits else 1)
    assert (("t", 0) in world.commits.groups.get("g", {})) is commits
    world.again()
    assert world.log.end == 2


def _killed(*arguments: object, **named: object) -> None:
    raise KeyboardInterrupt


def test_what_nobody_will_end_is_aborted_at_start(world: World) -> None:
    """Records of a transaction that the journal does not know do not hold readers up for ever."""
    producer_id, _ = world.begin()
    del world.coordinator.transactions.by_id["x"]
    world.coordinator._recover()

    assert world.log.visibility.open == {}
    assert [each.producer_id for each in world.log.visibility.aborted(0, 2)] == [producer_id]


def test_all_of_it_is_rebuilt_from_the_files(world: World) -> None:
    """Open and aborted transactions, epochs and sequences are what they were after the broker comes back."""
    producer_id, epoch = world.begin()
    world.coordinator.end("x", producer_id, epoch, commits=False)
    producer_id, epoch = world.begin()
    before = (world.coordinator.transactions.by_id, world.log.visibility.open, world.log.visibility.aborted(0, 9))

    world.again()

    assert before == (
        world.coordinator.transactions.by_id,
        world.log.visibility.open,
        world.log.visibility.aborted(0, 9),
    )
    assert world.log.last_stable_offset == 2
    assert world.coordinator.unstable("g") == {("t", 0)}


def test_epochs_that_run_out_bring_a_new_producer_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs have 15 bits."""
    monkeypatch.setattr(coordinator, "_LAST_EPOCH", 2)

    seen = [world.coordinator.producer("x", 1000, -1, -1) for _ in range(5)]

    assert [each.epoch for each in seen] == [0, 1, 2, 0, 1]
    assert len({each.producer_id for each in seen}) == 2


def test_a_deleted_topic_does_not_keep_a_transaction_open(world: World) -> None:
    """It ends in what is left."""
    producer_id, epoch = world.begin()
    world.catalog.delete("t")

    world.coordinator.end("x", producer_id, epoch, commits=True)

    assert world.state is State.COMPLETE_COMMIT


def test_records_without_the_transaction_are_refused(world: World) -> None:
    """A producer with an open transaction in a partition cannot write beside it, and nobody can write markers."""
    producer_id, epoch = world.begin()
    beside = made([1], producer=producer_id, epoch=epoch, sequence=1)

    with pytest.raises(RefusedError) as caught:
        world.log.append(beside, batches.accept(beside, 1 << 20))
    assert caught.value.code is Code.INVALID_TXN_STATE
    marker, _ = coordinator.markers.made(producer_id, epoch, 1, commits=True)
    with pytest.raises(RefusedError, match="only the broker"):
        batches.accept(marker, 1 << 20)


def test_trimming_forgets_what_was_aborted(world: World) -> None:
    """What lies wholly before the first offset is in nobody's answer any more."""
    for _ in range(3):
        world.coordinator.end("x", *world.begin(), commits=False)
    world.catalog.trim("t", 0, 3)

    assert [each.last_offset for each in world.log.visibility.aborted(0, 6)] == [3, 5]
