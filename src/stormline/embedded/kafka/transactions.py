"""The transactions of producers with a transactional id, kept in `transactions.journal`: how far each has come.

    Empty --add--> Ongoing --end--> PrepareCommit or PrepareAbort --markers are written--> CompleteCommit or -Abort
                      ^------------------------------ add ------------------------------------------'

The decision is on disk before the first marker, so what a kill interrupts is carried out at the next start.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from stormline.embedded.kafka.commits import Commit, Partition
from stormline.embedded.kafka.errors import Code, RefusedError
from stormline.embedded.kafka.journal import Entry, Journal


class State(Enum):
    """A transaction's state by the name that DescribeTransactions gives it."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


ENDING = {State.PREPARE_COMMIT: State.COMPLETE_COMMIT, State.PREPARE_ABORT: State.COMPLETE_ABORT}


@dataclass(slots=True, frozen=True)
class Transaction:
    """A transactional id, its producer, and its present or last transaction. It is replaced, not changed.

    `bumped_from`: the epoch that its producer gave up by asking for this one, so that it may ask twice; -1 if none.
    `offsets`: group -> what is committed for it with the transaction; empty for a group that was only named.
    """

    producer_id: int
    epoch: int
    timeout_ms: int
    bumped_from: int = -1
    state: State = State.EMPTY
    started_ms: int = -1
    partitions: frozenset[Partition] = frozenset()
    offsets: dict[str, dict[Partition, Commit]] = field(default_factory=dict)

    def begun(self, now_ms: int) -> "Transaction":
        """It is ongoing: as it is, or a new one."""
        if self.state is State.ONGOING:
            return self
        return replace(self, state=State.ONGOING, started_ms=now_ms, partitions=frozenset(), offsets={})


class Transactions:
    """Transactional id -> transaction. What changes it raises OSError when the disk does, and changes nothing."""

    def __init__(self, directory: Path) -> None:
        self.by_id: dict[str, Transaction] = {}
        self.journal = Journal(directory / "transactions.journal", self._apply, self._snapshot)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case ["transaction", name, producer_id, epoch, timeout_ms, bumped_from, state, started_ms, places, groups]:
                self.by_id[name] = Transaction(
                    *(producer_id, epoch, timeout_ms, bumped_from, State(state), started_ms),
                    frozenset((topic, partition) for topic, partition in places),
                    {
                        group: {(topic, partition): Commit(*commit) for topic, partition, *commit in rows}
                        for group, rows in groups
                    },
                )
            case _:
                raise ValueError(f"the transaction journal has an entry of a newer version: {entry}")

    def _snapshot(self) -> Iterator[Entry]:
        for name, transaction in self.by_id.items():
            yield _entry(name, transaction)

    def keep(self, name: str, transaction: Transaction) -> None:
        """From now on, this is how it stands with the transactional id."""
        self.journal.append(_entry(name, transaction))

    def find(self, name: str, producer_id: int, epoch: int) -> Transaction:
        """The transaction of this producer. RefusedError if the id is not this producer's, or not any more."""
        transaction = self.by_id.get(name)
        if transaction is None or transaction.producer_id != producer_id:
            reason = f"producer {producer_id} is not that of transactional id {name!r}"
            raise RefusedError(Code.INVALID_PRODUCER_ID_MAPPING, reason)
        if transaction.epoch != epoch:
            reason = f"transactional id {name!r} has epoch {transaction.epoch}, {epoch} came"
            raise RefusedError(Code.PRODUCER_FENCED, reason)
        return transaction

    def close(self) -> None:
        self.journal.file.close()


def _entry(name: str, transaction: Transaction) -> Entry:
    groups = [
        [group, [[*partition, *commit] for partition, commit in held.items()]]
        for group, held in transaction.offsets.items()
    ]
    return [
        *("transaction", name, transaction.producer_id, transaction.epoch, transaction.timeout_ms),
        *(transaction.bumped_from, transaction.state.value, transaction.started_ms),
        *([list(partition) for partition in sorted(transaction.partitions)], groups),
    ]
