"""Reads this task's partitions of one topic, on a thread of its own.

Numbered by what happens:
1. connect; list the partitions; `Assigned` with this task's; wait for `start`.
2. fetch. kafka-python fetches ahead on its own thread; this one decodes, and keeps a few batches of each partition
   ready, so that a partition that is wanted again is served at once. A partition that has enough is paused.
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
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError, LogTruncationError, OffsetOutOfRangeError, RetriableError

from stormline.connectors.kafka import ClientMaker, client_settings, partition_name, reason, unreachable
from stormline.connectors.kafka_columns import column_records
from stormline.connectors.kafka_commits import Commits
from stormline.connectors.kafka_partition import Partition, lost, own_addresses, standings
from stormline.core.events import Assigned, Committed, Fetched, ReaderEvent, Trouble

FETCH_BYTES = 512 * 1024
TAKE_ALL = 1 << 30
POLL_MS = 50  # how long a command may wait while there is nothing to read
COMMIT_MS = 5  # how long an answer to a commit may wait
COMMAND_S = 0.025  # how long news may wait while the spout has its hands full
QUIET_FETCH_MS = 500
BUSY_FETCH_MS = 5
QUIET_ASK_S = 0.2
BUSY_ASK_S = 1.0
ASK_MS = 500
METADATA_MS = 2_000  # how long a topic that was made anew may stay unseen
SILENT_S = 1.5
RETRY_S = 0.5
CLOSE_S = 3.0


class KafkaReader:
    """A `stormline.components.edges.Reader`. `brokers` is `host:port`, several with commas between."""

    def __init__(
        self,
        brokers: str,
        *,
        topic: str,
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
        self._topic = topic
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
        self._addresses: dict[str, Any] = {}
        self._started: dict[Any, Partition] = {}
        self._topic_id: uuid.UUID | None = None
        self._troubles: dict[str, str] = {}
        self._commits = Commits(self._on_committed, self._on_refused)
        self._ask_at = 0.0
        self._heard_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"kafka-reader-{topic}", daemon=True)
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
            maker = ClientMaker()
            consumer: Any = None
            try:
                consumer = self._connected(maker)
                if self._assign(consumer, maker):
                    self._read(consumer, maker)
            except KafkaTimeoutError:
                self._trouble("kafka", f"{self._topic}: {unreachable(self._brokers)} Trying again.")
            except RetriableError as error:
                self._trouble("kafka", f"{self._topic}: {reason(error)}; trying again.")
            except _Fatal as error:
                self._give_up(str(error))
            except Exception as error:  # a thread dies silently: whatever it is, the spout must hear of it
                self._give_up(f"{self._topic}: reading from Kafka at {self._brokers} failed: {reason(error)}")
            finally:
                if consumer is not None:
                    consumer.close(autocommit=False, timeout_ms=1_000)
                maker.close()

    def _connected(self, maker: ClientMaker) -> Any:
        consumer = KafkaConsumer(
            **client_settings(self._brokers),
            kafka_client=maker,
            bootstrap_timeout_ms=2_000,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=QUIET_FETCH_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
            metadata_max_age_ms=METADATA_MS,
            metrics_enabled=False,
        )
        # kafka-python has no public way to take another decoder; the project pins its minor version, and the tests of
        # this file fail if the name changes. Each "record" of `poll` is then a batch of up to max_batch.
        consumer._fetcher.PartitionRecords = column_records(self._max_batch, timestamps=self._timestamps)
        return consumer

    def _assign(self, consumer: Any, maker: ClientMaker) -> bool:
        """Say where the partitions of this task stand, and wait for `start`; False if `close` came first."""
        while not (numbers := consumer.partitions_for_topic(self._topic)):
            self._trouble(
                "kafka",
                f"topic {self._topic} does not exist on Kafka at {self._brokers}. Create it, or correct `topic` of the "
                "spout; the spout goes on looking for it.",
            )
            if self._obey(RETRY_S):
                return False
        self._topic_id = maker.client.cluster.topic_id(self._topic)
        own = own_addresses(self._topic, numbers, self._task_index, self._task_count)
        names = {address: partition_name(self._topic, self._topic_id, address.partition) for address in own}
        found = standings(consumer, names, self._start_ms)
        self._fine("kafka")
        self._addresses = {name: address for address, name in names.items()}
        self._partitions = {s.partition: Partition(s.partition, self._addresses[s.partition], s.log_end) for s in found}
        self._emit(Assigned(found, len(numbers)))
        while not self._started:
            if self._obey(None) and not self._started:
                return False
        consumer.assign(list(self._started))
        for address, partition in self._started.items():
            consumer.seek(address, partition.position)
        return True

    def _read(self, consumer: Any, maker: ClientMaker) -> None:
        self._heard()
        while not self._obey(self._rest()):
            try:
                self._commits.send(consumer, self._addresses)
                self._deliver()
                self._fetch(consumer)
                self._deliver()
                self._ask_log_ends(consumer, maker)
            except RetriableError as error:
                self._trouble("kafka", f"{self._topic}: {reason(error)}; trying again.")
                if self._obey(RETRY_S):
                    break
            except (OffsetOutOfRangeError, LogTruncationError) as error:
                raise _Fatal(lost(consumer, error, self._started)) from error
        self._commits.finish(consumer, self._addresses, within_s=CLOSE_S)

    def _deliver(self) -> None:
        for partition in self._started.values():
            if partition.granted and (event := partition.next_event()) is not None:
                self._emit(event)

    def _rest(self) -> float:
        """Seconds to wait for a command: none where `poll` can do the waiting, else until the spout wants something."""
        if not any(p.ready for p in self._started.values()):
            return 0
        return 2 * COMMAND_S if all(p.is_full for p in self._started.values()) else COMMAND_S

    def _fetch(self, consumer: Any) -> None:
        partitions = self._started.values()
        # A broker has one fetch of ours at a time, and a partition that is paused when it is sent waits for the next.
        quiet = all(p.is_caught_up for p in partitions)
        consumer._fetcher.config["fetch_max_wait_ms"] = QUIET_FETCH_MS if quiet else BUSY_FETCH_MS
        timeout_ms = 0 if any(p.ready for p in partitions) else COMMIT_MS if self._commits.is_on_its_way else POLL_MS
        # All of what has come, whatever its size: of a response that is taken in parts, kafka-python 3.0.12 forgets the
        # rest when its partition is paused meanwhile and another one's response has been taken to its end.
        fetched = consumer.poll(timeout_ms=timeout_ms, max_records=TAKE_ALL)
        for address, batches in fetched.items():
            self._started[address].add(batches)
        if fetched:
            self._heard()
        for address, partition in self._started.items():
            partition.moved(consumer.position(address, timeout_ms=0), consumer.highwater(address))
            (consumer.pause if partition.is_full else consumer.resume)(address)

    def _ask_log_ends(self, consumer: Any, maker: ClientMaker) -> None:
        """Ask where the logs end: often while nothing comes, as only an answer tells silence from a dead broker."""
        now = time.monotonic()
        if now < self._ask_at:
            return
        cluster = maker.client.cluster
        if cluster.topic_id(self._topic) not in (self._topic_id, None):
            raise _Fatal(
                f"topic {self._topic} was deleted and made anew while it was read; its offsets begin again. Start over "
                "under another name, or with --fresh."
            )
        try:
            ends = consumer.end_offsets(list(self._started), timeout_ms=ASK_MS)
        except KafkaTimeoutError:
            if now > self._heard_at + SILENT_S:
                gone = cluster.partitions_for_topic(self._topic) is None
                what = f"the topic does not exist on {self._brokers} any more." if gone else unreachable(self._brokers)
                self._trouble("kafka", f"{self._topic}: {what} Trying again.")
            return
        for address, partition in self._started.items():
            partition.moved(partition.position, ends[address])
        quiet = self._heard_at <= self._ask_at
        self._heard()
        self._ask_at = self._heard_at + (QUIET_ASK_S if quiet else BUSY_ASK_S)

    def _obey(self, wait_s: float | None) -> bool:
        """Carry out the commands that have come, waiting so long for a first one; True when closing."""
        try:
            command, argument = self._commands.get(wait_s != 0, wait_s)
            while True:
                if command == "start":
                    for name, offset in argument.items():
                        self._partitions[name].seek(offset)
                    self._started = {self._addresses[name]: self._partitions[name] for name in argument}
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

    def _on_refused(self, error: Exception) -> None:
        hint = " If another program is a member of this group, stop it or use another name."
        self._trouble(
            "commit",
            f"{self._topic}: Kafka at {self._brokers} does not take the commits of group {self._group}: "
            f"{reason(error)}; trying again.{'' if isinstance(error, RetriableError) else hint}",
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
