"""The transaction coordinator (KIP-98): who may write under a transactional id, and how a transaction begins and ends.

All of it happens between two requests, so nobody sees a part of it; what a kill interrupts is put right at the next
start.
"""

import time
from dataclasses import replace
from pathlib import Path

from stormline.embedded.kafka import markers
from stormline.embedded.kafka.catalog import Catalog
from stormline.embedded.kafka.commits import Commit, Commits, Partition
from stormline.embedded.kafka.errors import Code, RefusedError, tell
from stormline.embedded.kafka.transactions import ENDING, State, Transaction, Transactions

_LONGEST_MS = 900_000  # Kafka's transaction.max.timeout.ms
_LAST_EPOCH = (1 << 15) - 2  # the last one is for the marker that fences its owner; then a new producer id is given


class Coordinator:
    """What changes transactions. Raises RefusedError, and OSError when the disk does."""

    def __init__(self, directory: Path, catalog: Catalog, commits: Commits) -> None:
        self._catalog = catalog
        self._commits = commits
        self.transactions = Transactions(directory)
        self._recover()

    def producer(self, name: str, timeout_ms: int, known_id: int, known_epoch: int) -> Transaction:
        """The producer id and epoch under which to write from now on; what the last owner had begun is aborted.

        `known_id`, `known_epoch`: what the owner had before and gives up after an error (KIP-360), else -1.
        """
        if not name:
            raise RefusedError(Code.INVALID_REQUEST, "a transactional id has at least one character")
        if not 0 < timeout_ms <= _LONGEST_MS:
            reason = f"a transaction may take up to {_LONGEST_MS} ms; asked: {timeout_ms}"
            raise RefusedError(Code.INVALID_TRANSACTION_TIMEOUT, reason)
        found = self.transactions.by_id.get(name)
        if found is None:
            return self._keep(name, Transaction(self._catalog.new_producer_id(), 0, timeout_ms))
        if known_epoch >= 0:
            if known_id == found.producer_id and known_epoch == found.bumped_from:
                return found  # it asks again: the answer was lost
            self.transactions.find(name, known_id, known_epoch)
        if found.state in ENDING:
            self._finish(name, found)
        elif found.state is State.ONGOING:
            self._abort(name, found)
        last = self.transactions.by_id[name]
        fresh = Transaction(last.producer_id, last.epoch + 1, timeout_ms, known_epoch)
        if last.epoch >= _LAST_EPOCH:
            fresh = Transaction(self._catalog.new_producer_id(), 0, timeout_ms)
        return self._keep(name, fresh)

    def add(self, name: str, producer_id: int, epoch: int, partitions: set[Partition], group: str | None) -> None:
        """These partitions, or the offsets of this group, belong to the transaction, which begins if it has not."""
        found = self._idle(name, producer_id, epoch).begun(_now_ms())
        offsets = found.offsets if group is None else {group: {}, **found.offsets}
        self._keep(name, replace(found, partitions=found.partitions | partitions, offsets=offsets))

    def hold(self, name: str, producer_id: int, epoch: int, group: str, commits: dict[Partition, Commit]) -> None:
        """Offsets that are committed if the transaction is."""
        found = self._idle(name, producer_id, epoch)
        if found.state is not State.ONGOING or group not in found.offsets:
            raise RefusedError(Code.INVALID_TXN_STATE, f"group {group!r} is not in the transaction of {name!r}")
        held = {**found.offsets, group: {**found.offsets[group], **commits}}
        self._keep(name, replace(found, offsets=held))

    def check_append(self, name: str | None, producer_id: int, epoch: int, partition: Partition) -> None:
        """RefusedError unless the partition is in the ongoing transaction of this producer."""
        found = self.transactions.by_id.get(name or "")
        if found is not None and found.producer_id == producer_id and found.epoch != epoch:
            reason = f"transactional id {name!r} has epoch {found.epoch}, {epoch} came"
            raise RefusedError(Code.INVALID_PRODUCER_EPOCH, reason)
        if (
            found is None
            or found.producer_id != producer_id
            or found.state is not State.ONGOING
            or partition not in found.partitions
        ):
            reason = f"partition {partition[1]} of topic {partition[0]!r} is not in a transaction of {name!r}"
            raise RefusedError(Code.INVALID_TXN_STATE, reason)

    def end(self, name: str, producer_id: int, epoch: int, *, commits: bool) -> None:
        """Commit or abort; asked again for the same end, it has happened."""
        found = self.transactions.find(name, producer_id, epoch)
        prepare = State.PREPARE_COMMIT if commits else State.PREPARE_ABORT
        if found.state is State.ONGOING:
            found = self._keep(name, replace(found, state=prepare))
        if found.state is prepare:
            self._finish(name, found)
        elif found.state is not ENDING[prepare]:
            reason = f"transactional id {name!r} has nothing to end: {found.state.value}"
            raise RefusedError(Code.INVALID_TXN_STATE, reason)

    def expire(self) -> None:
        """Abort what takes longer than its producer has said, and carry out what a full disk has interrupted."""
        now_ms = _now_ms()
        for name, found in list(self.transactions.by_id.items()):
            if found.state in ENDING:
                self._finish(name, found)
            elif found.state is State.ONGOING and now_ms - found.started_ms > found.timeout_ms:
                tell(f"aborted the transaction of {name!r}: it was not ended within {found.timeout_ms} ms")
                self._abort(name, found)

    def unstable(self, group: str) -> set[Partition]:
        """The partitions for which an open transaction holds offsets of the group."""
        return {
            partition
            for found in self.transactions.by_id.values()
            if found.state is State.ONGOING or found.state in ENDING
            for partition in found.offsets.get(group, ())
        }

    def _idle(self, name: str, producer_id: int, epoch: int) -> Transaction:
        found = self.transactions.find(name, producer_id, epoch)
        if found.state in ENDING:
            raise RefusedError(Code.CONCURRENT_TRANSACTIONS, f"the last transaction of {name!r} is still ending")
        return found

    def _abort(self, name: str, found: Transaction) -> None:
        """By the broker: a new epoch fences the producer that goes on."""
        epoch = found.epoch + 1
        self._finish(name, self._keep(name, replace(found, epoch=epoch, bumped_from=-1, state=State.PREPARE_ABORT)))

    def _finish(self, name: str, found: Transaction) -> None:
        """Write the markers, commit the offsets. What was done before an interruption is done again, to no effect."""
        commits = found.state is State.PREPARE_COMMIT
        for topic, partition in sorted(found.partitions):
            self._mark(topic, partition, found.producer_id, found.epoch, commits=commits)
        for group, offsets in found.offsets.items():
            if commits and offsets:
                self._commits.commit(group, offsets)
        self._keep(name, replace(found, state=ENDING[found.state]))

    def _mark(self, topic: str, partition: int, producer_id: int, epoch: int, *, commits: bool) -> None:
        """End the producer's transaction in a partition, if it is open there and the topic has not been deleted."""
        known = self._catalog.topics.get(topic)
        if known is None or producer_id not in known.logs[partition].visibility.open:
            return
        known.logs[partition].append(*markers.made(producer_id, epoch, _now_ms(), commits=commits))

    def _recover(self) -> None:
        """Carry out what was decided; abort what is open in a log and nobody's transaction any more, which can be after
        the death of the machine."""
        for name, found in list(self.transactions.by_id.items()):
            if found.state in ENDING:
                self._finish(name, found)
        ongoing = {
            (found.producer_id, partition)
            for found in self.transactions.by_id.values()
            if found.state is State.ONGOING
            for partition in found.partitions
        }
        for topic in self._catalog.topics.values():
            for partition, log in enumerate(topic.logs):
                for producer_id, (_, epoch) in list(log.visibility.open.items()):
                    if (producer_id, (topic.name, partition)) not in ongoing:
                        self._mark(topic.name, partition, producer_id, epoch, commits=False)

    def _keep(self, name: str, transaction: Transaction) -> Transaction:
        self.transactions.keep(name, transaction)
        return transaction


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
