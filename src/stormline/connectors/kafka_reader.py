"""Reads this task's partitions of one topic or several, on a thread of its own.

Numbered by what happens:
1. connect; list the partitions; `Assigned` with this task's; wait for `start`. The same for those that come later.
2. fetch. The client fetches ahead on threads of its own; this one keeps a few batches of each partition ready, so that
   a partition that is wanted again is served at once. A partition that has enough is held.
3. `Fetched` where there is news and a grant (see `Reader.want`): records, or a position or log end that moved.
4. commits.
5. `close`: the last commit, for at most `CLOSE_S`.

There is no group membership: the group id only names the committed offsets, and no rebalance ever happens.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka_clients import (
    METADATA_MS,
    Address,
    Consumer,
    KafkaFault,
    OutOfRange,
    Topic,
    Unanswered,
    consumer,
    partition_name,
    reason,
    unreachable,
)
from stormline.connectors.kafka_commits import Commits
from stormline.connectors.kafka_partition import Partition, lost, own_addresses, standings
from stormline.core.events import Assigned, Committed, Fetched, ReaderEvent, Trouble
from stormline.core.topics import Topics, chosen, named, shown

POLL_MS = 50  # how long a command may wait while there is nothing to read
COMMIT_MS = 5  # how long an answer to a commit may wait
COMMAND_S = 0.025  # how long news may wait while the spout has its hands full
QUIET_ASK_S = 0.2
BUSY_ASK_S = 1.0
ASK_MS = 500
SILENT_S = 1.5
RETRY_S = 0.5
CLOSE_S = 3.0


class KafkaReader:
    """A `stormline.components.edges.Reader`."""

    def __init__(
        self,
        brokers: Brokers,
        *,
        topics: Topics,
        group: str,
        task_index: int,
        task_count: int,
        max_batch: int,
        timestamps: bool,
        on_event: Callable[[ReaderEvent], None],
        post: Callable[[Callable[[], None]], None],
        start_ms: int | None = None,
    ) -> None:
        self._brokers = brokers
        self._topics = topics
        self._shown = shown(topics)
        self._group = group
        self._task_index = task_index
        self._task_count = task_count
        self._max_batch = max_batch
        self._timestamps = timestamps
        self._start_ms = start_ms
        self._on_event = on_event
        self._post = post
        self._granted: set[str] = set()  # these two belong to the component's thread
        self._closed = False
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._closing = False  # from here on: this reader's thread
        self._partitions: dict[str, Partition] = {}
        self._addresses: dict[str, Address] = {}
        self._started: dict[Address, Partition] = {}
        self._begun = False
        self._fresh: list[Address] = []
        """Started, and not yet given to the client."""
        self._ids: dict[str, uuid.UUID | None] = {}
        self._count = 0
        """Partitions of all tasks."""
        self._names: list[str] = []
        """The topics that the pattern matched last, and when that was asked."""
        self._names_at = 0.0
        self._troubles: dict[str, str] = {}
        self._commits = Commits(self._on_committed, self._on_refused)
        self._ask_at = 0.0
        self._heard_at = self._looked_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"kafka-reader-{self._shown}", daemon=True)
        self._thread.start()

    # On the component's thread.

    def start(self, positions: Mapping[str, int]) -> None:
        self._commands.put(("start", dict(positions)))

    def want(self, partitions: frozenset[str]) -> None:
        if fresh := partitions - self._granted:
            self._granted |= fresh
            self._commands.put(("want", fresh))

    def commit(self, offsets: Mapping[str, int]) -> None:
        self._commands.put(("commit", dict(offsets)))

    def close(self) -> None:
        """No event comes after it. Waits for the commits that were asked for, at most a few seconds."""
        if not self._closed:
            self._closed = True
            self._commands.put(("close", None))
            self._thread.join(CLOSE_S + 1)

    def _hand_over(self, event: ReaderEvent) -> None:
        if isinstance(event, Fetched):
            self._granted.discard(event.partition)
        if not self._closed:
            self._on_event(event)

    # On this reader's thread.

    def _run(self) -> None:
        while not self._closing:
            client: Consumer | None = None
            try:
                client = consumer(self._brokers, self._group, max_batch=self._max_batch, timestamps=self._timestamps)
                if self._assign(client):
                    self._read(client)
            except Unanswered:
                self._trouble("kafka", f"{self._shown}: {unreachable(self._brokers)} Trying again.")
                self._obey(RETRY_S)
            except KafkaFault as fault:
                if fault.retriable:
                    self._trouble("kafka", f"{self._shown}: {fault}; trying again.")
                    self._obey(RETRY_S)
                else:
                    self._give_up(f"{self._shown}: reading from Kafka at {self._brokers} failed: {fault}")
            except _Fatal as error:
                self._give_up(str(error))
            except Exception as error:  # a thread dies silently: whatever it is, the spout must hear of it
                self._give_up(f"{self._shown}: reading from Kafka at {self._brokers} failed: {reason(error)}")
            finally:
                if client is not None:
                    with suppress(Exception):  # it is done with, and the next one is needed
                        client.close()

    def _assign(self, client: Consumer) -> bool:
        """Say where the partitions of this task stand, and wait for `start`; False if `close` came first."""
        while (missing := self._missing(found := self._find(client))) is not None:
            self._trouble(
                "kafka",
                f"{missing} on Kafka at {self._brokers}. Create it, or correct `topic` of the "
                "spout; the spout goes on looking for it.",
            )
            if self._obey(RETRY_S):
                return False
        self._take_up(client, found)
        while not self._begun:
            if self._obey(None) and not self._begun:
                return False
        return True

    def _find(self, client: Consumer) -> dict[str, Topic]:
        """The topics that are meant, as far as they exist."""
        names = named(self._topics)
        if not names:
            now = time.monotonic()
            if now > self._names_at + METADATA_MS / 1000:
                self._names, self._names_at = chosen(self._topics, client.names()), now
            names = tuple(self._names)
        return client.topics(names)

    def _missing(self, found: Mapping[str, Topic]) -> str | None:
        """Nothing is read before all topics are there: a window could close without those that are not."""
        names = [name for name in named(self._topics) if name not in found]
        if names:
            return f"topic {', '.join(names)} does not exist"
        return None if found else f"no topic matches {self._shown}"

    def _take_up(self, client: Consumer, found: Mapping[str, Topic]) -> None:
        """Tell of the partitions that are not known yet, and of another number over all tasks."""
        count = sum(len(topic.numbers) for topic in found.values())
        names = {
            address: partition_name(name, topic.id, address.number)
            for name, topic in found.items()
            for address in own_addresses(name, topic.numbers, self._task_index, self._task_count)
        }
        fresh = {address: name for address, name in names.items() if name not in self._addresses}
        if count <= self._count and not fresh and self._ids:
            return
        stand = standings(client, fresh, self._start_ms)
        self._count = max(count, self._count)
        self._ids |= {name: topic.id for name, topic in found.items() if name not in self._ids}
        self._addresses |= {name: address for address, name in fresh.items()}
        self._partitions |= {
            s.partition: Partition(s.partition, self._addresses[s.partition], s.log_end) for s in stand
        }
        self._fine("kafka")
        self._emit(Assigned(stand, self._count, {name: len(topic.numbers) for name, topic in found.items()}))

    def _read(self, client: Consumer) -> None:
        self._heard()
        self._fresh = list(self._started)
        while not self._obey(self._rest()):
            try:
                self._give(client)
                self._commits.send(client, self._addresses)
                self._deliver()
                self._fetch(client)
                self._deliver()
                self._ask_log_ends(client)
            except OutOfRange as fault:
                raise _Fatal(lost(client, fault.addresses, self._started)) from fault
            except KafkaFault as fault:
                if not fault.retriable:
                    raise
                self._trouble("kafka", f"{self._shown}: {fault}; trying again.")
                if self._obey(RETRY_S):
                    break
        self._commits.finish(client, self._addresses, within_s=CLOSE_S)

    def _give(self, client: Consumer) -> None:
        """Those that were started since the last time."""
        if self._fresh:
            client.assign({address: self._started[address].position for address in self._fresh})
            self._fresh.clear()

    def _deliver(self) -> None:
        for partition in self._started.values():
            if partition.granted and (event := partition.next_event()) is not None:
                self._emit(event)

    def _rest(self) -> float:
        """Seconds to wait for a command: none where `poll` can do the waiting, else until the spout wants something."""
        if not self._started:
            return QUIET_ASK_S
        if not any(p.ready for p in self._started.values()):
            return 0
        return 2 * COMMAND_S if all(p.is_full for p in self._started.values()) else COMMAND_S

    def _fetch(self, client: Consumer) -> None:
        if not self._started:
            return
        some_ready = any(p.ready for p in self._started.values())
        client.hold([address for address, partition in self._started.items() if partition.is_full])
        fetched = client.poll(0 if some_ready else COMMIT_MS if self._commits.is_on_its_way else POLL_MS)
        for address, batches in fetched.items():
            self._started[address].add(batches)
        if fetched:
            self._heard()
        for address, partition in self._started.items():
            partition.moved(*client.standing(address))

    def _ask_log_ends(self, client: Consumer) -> None:
        """Ask where the logs end: often while nothing comes, as only an answer tells silence from a dead broker."""
        now = time.monotonic()
        if now < self._ask_at:
            return
        self._ask_at, asked_at = now + QUIET_ASK_S, self._ask_at
        try:
            found = self._find(client)
            for name, topic in found.items():
                if topic.id is not None and self._ids.get(name, topic.id) not in (topic.id, None):
                    raise _Fatal(
                        f"topic {name} was deleted and made anew while it was read; its offsets begin again. Start "
                        "over under another name, or with --fresh."
                    )
            there = [address for address in self._started if address.topic in found]
            ends = client.ends(there, ASK_MS) if there else {}
            self._take_up(client, found)
        except Unanswered:
            self._silent(None)
            return
        for address in there:
            partition = self._started[address]
            partition.moved(partition.position, ends[address])
        if gone := sorted(self._ids.keys() - found.keys()):
            self._silent(f"the topic {', '.join(gone)} does not exist on {self._brokers} any more.")
            return
        quiet = self._heard_at <= asked_at
        self._heard()
        self._ask_at = self._heard_at + (QUIET_ASK_S if quiet else BUSY_ASK_S)

    def _silent(self, what: str | None) -> None:
        """Say why nothing is heard, once it takes long; None: it has to be found out, which is work for the broker."""
        if time.monotonic() > max(self._heard_at, self._looked_at) + SILENT_S:
            self._trouble("kafka", f"{self._shown}: {what or unreachable(self._brokers)} Trying again.")
            self._looked_at = time.monotonic()

    def _obey(self, wait_s: float | None) -> bool:
        """Carry out the commands that have come, waiting so long for a first one; True when closing."""
        try:
            command, argument = self._commands.get(wait_s != 0, wait_s)
            while True:
                if command == "start":
                    self._begun = True
                    for name, offset in argument.items():
                        self._partitions[name].seek(offset)
                        self._started[self._addresses[name]] = self._partitions[name]
                        self._fresh.append(self._addresses[name])
                elif command == "want":
                    for name in argument:
                        self._partitions[name].granted = True
                elif command == "commit":
                    self._commits.ask(argument)
                elif command == "close":
                    self._closing = True
                command, argument = self._commands.get_nowait()
        except queue.Empty:
            return self._closing

    # What the spout hears of.

    def _emit(self, event: ReaderEvent) -> None:
        self._post(lambda: self._hand_over(event))

    def _on_committed(self, offsets: dict[str, int]) -> None:
        self._fine("commit")
        self._emit(Committed(offsets))

    def _on_refused(self, fault: KafkaFault) -> None:
        hint = " If another program is a member of this group, stop it or use another name."
        self._trouble(
            "commit",
            f"{self._shown}: Kafka at {self._brokers} does not take the commits of group {self._group}: "
            f"{fault}; trying again.{'' if fault.retriable else hint}",
        )

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
        self._fine("kafka")

    def _trouble(self, cause: str, message: str) -> None:
        if self._troubles.get(cause) != message:
            self._troubles[cause] = message
            self._emit(Trouble(message))

    def _fine(self, cause: str) -> None:
        if self._troubles.pop(cause, None) is not None and not self._troubles:
            self._emit(Trouble(None))

    def _give_up(self, message: str) -> None:
        self._closing = True
        self._emit(Trouble(message, fatal=True))


class _Fatal(Exception):  # noqa: N818 - it carries a message out of a loop, nobody else sees it
    """Going on would lose or repeat records."""
