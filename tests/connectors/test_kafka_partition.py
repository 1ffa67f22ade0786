"""A partition as the reader holds it: whose it is, how much waits in it, and what is told of it when."""

import pytest

from stormline.connectors.columns import Columns
from stormline.connectors.kafka_clients import Address
from stormline.connectors.kafka_partition import Partition, own_addresses
from stormline.core.events import Fetched


@pytest.mark.parametrize("tasks", [1, 2, 3, 7])
def test_each_partition_belongs_to_one_task(tasks):
    """Whatever the number of tasks, they share the partitions out without rest, evenly."""
    shares = [own_addresses("purchases", range(12), task, tasks) for task in range(tasks)]
    assert sorted(address for share in shares for address in share) == [Address("purchases", p) for p in range(12)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_position_or_log_end_that_moves_is_told_once():
    """Without records (markers, compaction, an open transaction) an empty `Fetched` comes, and uses up the grant."""
    partition = Partition("t/0", Address("t", 0), log_end=10)
    partition.seek(5)
    assert partition.next_event() is None
    partition.granted = True
    partition.moved(7, 10)
    assert partition.next_event() == Fetched("t/0", [], [], [], [], 7, 10)
    assert not partition.granted
    partition.moved(7, 12)
    assert partition.next_event() == Fetched("t/0", [], [], [], [], 7, 12)
    partition.moved(7, 11)  # the end of what is committed, asked after a fetch told the whole
    assert partition.next_event() is None


@pytest.mark.parametrize(("count", "size"), [(8_000, 1), (9, 1 << 20)])
def test_a_partition_is_full_by_records_or_by_bytes(count, size):
    """A few large records are as much as thousands of small ones; what was handed out makes room."""
    partition = Partition("t/0", Address("t", 0), log_end=count)
    partition.seek(0)
    for offset in range(count):
        assert not partition.is_full
        partition.add([Columns([offset], [0], [None], [bytes(size)])])
        if partition.is_full:
            break
    assert partition.is_full
    partition.granted = True
    assert partition.next_event() is not None
    assert not partition.is_full


def test_the_position_of_the_last_batch_passes_the_gap_behind_it():
    """Only the last one: behind the others are the records of the next."""
    partition = Partition("t/0", Address("t", 0), log_end=20)
    partition.seek(0)
    partition.add(Columns([offset], [0], [None], [b""]) for offset in (3, 8))
    partition.moved(15, 20)
    assert [partition.next_event().next_offset for _ in range(2)] == [4, 15]
    assert partition.next_event() is None
