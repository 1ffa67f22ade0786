"""The core alone, no I/O: trades from JSON to flush commands, against a hand-written msgspec and dict loop.

Ours does all that a record meets: decode, source, filter, split to two keyed tasks, apply (included offsets, lateness,
five aggregates by user and hour), flush as the bytes for Redis, confirmation, acks, progress. The loop decodes the same
bytes into the same Struct, keeps the same aggregates, and writes the dirty results as JSON as often; it remembers no
offset, so a crash loses or doubles its records. Their results must be equal. Interleaved; CPU time, the
interpreter set as in a worker.

Then the same path with other windows, on an hour of trades of 500 users, each against tumbling windows of an hour in
the same round: sliding ones of 60 panes, sessions, days. Each of these shows more rows than an hour does: that is in
the figures. Last, what an open key and window takes in memory, and the longest call while 100,000 of them close.

    ./sparse bench core [RECORDS] [RUNS]
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
import tracemalloc
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
from redis.connection import Connection

from stormline import Record
from stormline.components.decoding import Decoder
from stormline.connectors.redis_commands import SCRIPTS, command
from stormline.core.aggregate import EXACT, MEAN_DIGITS, Aggregation, Count, Max, Mean, Min, Sum
from stormline.core.batch import Batch, Rows
from stormline.core.calendar import calendar
from stormline.core.events import Fetched
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.pending import Limits
from stormline.core.progress import Claim, Progress, ProgressView
from stormline.core.requests import Applied, Loaded
from stormline.core.slot import SLOTS, key_column, owned_slots, owner_index
from stormline.core.source import WAIT_FOR_MS, Emission, Source
from stormline.core.split import Split, keep
from stormline.core.table import Rules
from stormline.core.window import Windower, session, sliding, tumbling
from stormline.multilang.interpreter import tune

GOAL = 0.7
BATCH, PARTITIONS, TASKS, FLUSH_EVERY = 500, 4, 2, 20_000
BATCHES_A_STEP = 1
USERS, HOUR_MS, DAY_MS = 10_000, 3_600_000, 86_400_000
BEGAN_MS = 1_767_225_600_000


class Trade(Record):
    time_ms: int
    user: str
    amount: Decimal


HOURS = tumbling("1h")
AGGREGATES = {"n": Count(), "sum": Sum("amount"), "min": Min("amount"), "max": Max("amount"), "mean": Mean("amount")}

KINDS: dict[str, tuple[Windower, float]] = {
    "sliding": (sliding("1h", "1m"), 0.5),
    "session": (session("1m"), 0.5),
    "calendar": (calendar("day", tz="Europe/Berlin"), 0.8),
}
"""Windows and the goal, as a share of the speed of tumbling ones."""
BLOCKED_GOAL_MS = 50.0
OPEN = 100_000

Results = dict[tuple[int, str], str]


def trades(count: int, users: int = USERS, length_ms: int = DAY_MS) -> list[Fetched]:
    """Trades of so much time in batches, partitions in turn; 63 % of them are worth 100 or more."""
    seeded = random.Random(4)
    drawn = seeded.choices(range(users), [1 / (rank + 1) for rank in range(users)], k=count)
    values = [
        b'{"time_ms": %d, "user": "u%05d", "amount": %d.%02d, "side": "b"}'
        % (
            BEGAN_MS + 5000 + i * (length_ms - 5000) // count - seeded.randrange(5000),
            user,
            *divmod(int(seeded.expovariate(1 / 21600)), 100),
        )
        for i, user in enumerate(drawn)
    ]
    batches, ends = [], Counter[str]()
    for number, first in enumerate(range(0, count, BATCH)):
        part, partition = values[first : first + BATCH], f"trades:AAAA/{number % PARTITIONS}"
        offsets = range(ends[partition], ends[partition] + len(part))
        ends[partition] = offsets.stop
        none = [None] * len(part)
        batches.append(Fetched(partition, offsets, [0] * len(part), none, part, offsets.stop, count))
    return batches


def worth(trade: Trade) -> bool:
    return trade.amount >= 100


class Ours:
    """A spout, a filter and two keyed tasks, without what surrounds them."""

    def __init__(self, windower: Windower = HOURS) -> None:
        self.seconds: Counter[str] = Counter()
        self.results: Results = {}
        self.rows = 0
        self._source = Source("s", 1, "me", Limits(5000, max_pending=1 << 60, span=1 << 60))
        self._source.partition_count = PARTITIONS
        for number in range(PARTITIONS):
            self._source.assign(f"trades:AAAA/{number}", 0, 0, 0)
        self._decoder = Decoder(Trade, "time_ms", DAY_MS)
        self._split = Split("by_w", key_column("user"), TASKS)
        rules = Rules("w", (windower,), Aggregation(AGGREGATES, Trade))
        self._tasks = [KeyedState(rules, f"owner{index}", ProgressView({"s": PARTITIONS})) for index in range(TASKS)]
        for index, task in enumerate(self._tasks):
            for slot in owned_slots(index, TASKS):
                task.load(Loaded(slot, 0, {}, {}, None, 0, []))
        self._waiting: Counter[str] = Counter()
        self._wire = Connection()
        self._shas = dict.fromkeys(SCRIPTS, "0" * 40)
        self._at = 0.0
        self._now_ms = 0

    def _lap(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[stage] += now - self._at
        self._at = now

    def run(self, fetched: list[Fetched]) -> None:
        self._at = time.process_time()
        for first in range(0, len(fetched), BATCHES_A_STEP):
            self._step(fetched[first : first + BATCHES_A_STEP])
            for task in self._tasks:
                if task.unflushed >= FLUSH_EVERY // TASKS:
                    self._flush(task)
        for task in self._tasks:
            self._flush(task)

    def _step(self, fetched: list[Fetched]) -> None:
        decoded = [self._decoder.rows(f, BEGAN_MS + DAY_MS)[0] for f in fetched]
        self._lap("decode")
        for f, rows in zip(fetched, decoded, strict=True):
            self._source.take(f.partition, rows, [], f.next_offset, f.log_end, 0)
        emissions = [emission for _ in fetched if (emission := self._next()) is not None]
        self._lap("source")
        kept = [keep(emission.records, worth, [self._split]) for emission in emissions]
        self._lap("keep")
        parts = [
            self._split.batches("s.by_w", emission.partition, k.rows, k.keys[0])
            for emission, k in zip(emissions, kept, strict=True)
        ]
        self._lap("split")
        for emission, batches in zip(emissions, parts, strict=True):
            self._waiting[emission.message_id] = len(batches)
            for batch in batches:
                self._tasks[owner_index(batch.slot, TASKS)].apply(batch, Held(emission.message_id))
        self._lap("apply")

    def _next(self) -> Emission | None:
        """All that is here goes: the wait for a partition that may have older records is over each time."""
        self._now_ms += WAIT_FOR_MS
        return self._source.next(self._now_ms)

    def _flush(self, task: KeyedState) -> None:
        flushes = task.flush()
        self._lap("flush")
        self._wire.pack_commands([command("app", flush, self._shas) for flush in flushes])
        self._lap("commands")
        for flush in flushes:
            for window in flush.windows:
                self.rows += len(window.results)
                self.results.update({(window.start_ms, key): json for key, json in window.results.items()})
        self._at = time.process_time()
        for flush in flushes:
            for message_id in task.flushed(flush.slot, Applied()):
                self._waiting[message_id] -= 1
                if self._waiting[message_id] == 0:
                    del self._waiting[message_id]
                    self._source.ack(message_id)
        progress = self._source.progress(0)
        for other in self._tasks:
            other.observe(progress)
        self._lap("acks")


def loop(fetched: list[Fetched]) -> tuple[float, dict[tuple[int, str], bytes]]:
    """What an expert would write by hand; CPU seconds and results."""
    began = time.process_time()
    decode, encode = msgspec.json.Decoder(Trade).decode, msgspec.json.Encoder(decimal_format="string").encode
    plus = EXACT.add
    windows: dict[tuple[int, str], list[Any]] = {}
    dirty: set[tuple[int, str]] = set()
    results: dict[tuple[int, str], bytes] = {}
    counted = 0

    def write() -> None:
        for key in dirty:
            n, total, least, most = windows[key]
            mean = MEAN_DIGITS.divide(total, n)
            results[key] = encode({"n": n, "sum": total, "min": least, "max": most, "mean": mean})
        dirty.clear()

    for f in fetched:
        for value in f.values:
            trade = decode(value)  # type: ignore[arg-type]
            amount = trade.amount
            if amount < 100:
                continue
            key = (trade.time_ms // HOUR_MS * HOUR_MS, trade.user)
            row = windows.get(key)
            if row is None:
                windows[key] = [1, amount, amount, amount]
            else:
                row[0] += 1
                row[1] = plus(row[1], amount)
                if amount < row[2]:
                    row[2] = amount
                elif amount > row[3]:
                    row[3] = amount
            dirty.add(key)
            counted += 1
        if counted >= FLUSH_EVERY:
            write()
            counted = 0
    write()
    return time.process_time() - began, results


def kinds(count: int, runs: int) -> dict[str, float]:
    """Kind of window -> its speed as a share of that of tumbling ones; the median of rounds."""
    fetched = trades(count, users=500, length_ms=HOUR_MS)
    shares: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(runs):
        for name, (windower, _) in KINDS.items():
            seconds = []
            for each in (HOURS, windower):
                ours = Ours(each)
                ours.run(fetched)
                seconds.append(ours.seconds.total())
            shares[name].append(seconds[0] / seconds[1])
    return {name: statistics.median(found) for name, found in shares.items()}


def opened() -> tuple[KeyedState, int]:
    """A task with so many open (key, window) pairs, flushed, and the bytes that each of them takes."""
    gc.collect()
    tracemalloc.start()
    task = KeyedState(Rules("w", (HOURS,), Aggregation(AGGREGATES, Trade)), "me", ProgressView({"s": 1}))
    for slot in range(SLOTS):
        task.load(Loaded(slot, 0, {}, {}, None, 0, []))
    amount = Decimal("123.45")
    for first in range(0, OPEN, BATCH):
        offsets = list(range(first, first + BATCH))
        values = [Trade(BEGAN_MS, f"u{number:06d}", amount + number) for number in offsets]
        rows = Rows(offsets, [BEGAN_MS] * BATCH, values, [f'"{value.user}"' for value in values])
        task.apply(Batch(0, "lane", "p", rows), Held(first))
    flushed(task)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return task, taken // OPEN


def flushed(task: KeyedState) -> float:
    """Flush all there is; the longest call, in ms."""
    longest = 0.0
    while True:
        began = time.perf_counter()
        flushes = task.flush()
        longest = max(longest, time.perf_counter() - began)
        if not flushes:
            return longest * 1000
        for flush in flushes:
            began = time.perf_counter()
            task.flushed(flush.slot, Applied())
            longest = max(longest, time.perf_counter() - began)


def closing(task: KeyedState) -> float:
    """All windows close, with their final rows sent on; the longest call, in ms."""
    task.rules = task.rules._replace(streams=frozenset({"final"}))
    for slot in task._slots.values():
        slot.tables[0]._rules = task.rules  # type: ignore[attr-defined]
    claim = Claim("p", OPEN, 0, BEGAN_MS + DAY_MS, idle=False, ended=False)
    began = time.perf_counter()
    task.observe(Progress("s", 1, "i", 1, 1, (claim,)))
    return max((time.perf_counter() - began) * 1000, flushed(task))


def main() -> None:
    tune()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    fetched = trades(count)
    stages: list[Counter[str]] = []
    loops: list[float] = []
    for _ in range(runs):
        ours = Ours()
        ours.run(fetched)
        stages.append(ours.seconds)
        seconds, expected = loop(fetched)
        loops.append(seconds)
        found = {(start, msgspec.json.decode(key)): result.encode() for (start, key), result in ours.results.items()}
        if found != expected:
            sys.exit("the results differ")
    print(f"CPU us a record, medians of {runs} runs over {count:,} records, {ours.rows / count:.2f} rows a record:")
    for stage in stages[0]:
        print(f"  {stage:<10}{statistics.median(run[stage] for run in stages) / count * 1e6:7.3f}")
    totals = [run.total() for run in stages]
    mine, peer = statistics.median(totals), statistics.median(loops)
    print(f"  {'all':<10}{mine / count * 1e6:7.3f}\n  {'the loop':<10}{peer / count * 1e6:7.3f}")
    ratio = statistics.median(theirs / own for own, theirs in zip(totals, loops, strict=True))
    shares = kinds(count, runs)
    task, bytes_each = opened()
    blocked_ms = closing(task)
    met = {name: shares[name] >= goal for name, (_, goal) in KINDS.items()}
    met |= {"tumbling": ratio >= GOAL, "closing": blocked_ms <= BLOCKED_GOAL_MS}
    print(
        json.dumps(
            {
                "name": "core",
                "unit": "records/s",
                "ours": round(count / mine),
                "peer": round(count / peer),
                "ratio": round(ratio, 3),
                "goal": GOAL,
                "met": all(met.values()),
                "spread": [round(count / max(totals)), round(count / min(totals))],
                "goals_met": met,
                "of_tumbling": {name: round(share, 3) for name, share in shares.items()},
                "of_tumbling_goals": {name: goal for name, (_, goal) in KINDS.items()},
                "bytes_an_open_key_and_window": bytes_each,
                "longest_call_closing_ms": round(blocked_ms, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
