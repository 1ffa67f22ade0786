"""What the core asks of the store (Redis) and what comes back. Data only; connectors carry it out.

Names follow the protocol: a slot has an owner (random token), a sequence, floors, included offsets, a watermark.
All of one component's slot lives under one hash tag `{app:component:slot}`, so that one script writes it atomically.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stormline.core.included import Ranges


class Load(msgspec.Struct, frozen=True):
    """Take a slot over: become its owner and read all of it, in one step (K1)."""

    component: str
    slot: int
    owner: str
    run: int
    again: bool = False
    """After a restart of Redis: only if this owner still owns it."""


Stage = Literal["live", "inner", "done", "gone"]
"""What becomes of a window in the store: it may still change; the same, but it has no results of its own to be shown (a
pane, a state by key); only its results stay; nothing stays."""


class LoadedWindow(msgspec.Struct, frozen=True):
    """A window that is still open or may still be revised."""

    name: str
    id: str
    """The start; `<start or number>@<canonical key>` where each key has windows of its own."""
    start_ms: int
    end_ms: int
    final: bool
    revision: int
    results: dict[str, str]
    """Canonical key -> JSON of the result."""
    states: dict[str, str]
    """Canonical key -> JSON of the accumulators that the result does not determine."""


class Loaded(msgspec.Struct, frozen=True):
    """All that a slot's new owner needs; `sequence` goes on from here."""

    slot: int
    sequence: int
    floor: dict[str, int]
    included: Ranges
    watermark_ms: int | None
    late: int
    windows: list[LoadedWindow]
    outputs: dict[int, bytes] = {}
    """Number -> what was to be sent and is not known to have arrived."""
    next_output: int = 0


class WindowChange(msgspec.Struct, frozen=True):
    """Absolute values of what changed in one window."""

    name: str
    id: str
    start_ms: int
    end_ms: int
    final: bool
    revision: int
    results: dict[str, str]
    states: dict[str, str]
    stage: Stage = "live"
    removed: list[str] = []
    """Keys whose result and state go."""


class Flush(msgspec.Struct, frozen=True):
    """One atomic write of a slot (K4). Applied only if `owner` owns the slot and `sequence` is above the stored one."""

    component: str
    slot: int
    owner: str
    sequence: int
    floor: dict[str, int]
    included: Ranges
    watermark_ms: int | None
    late: int
    """Count of late records so far, absolute."""
    late_records: dict[int, bytes]
    """Number of the late record modulo the kept ones -> JSON of it, absolute: writing it twice changes nothing."""
    windows: list[WindowChange]
    """In the order in which they came about: of two for one window the later one holds."""
    outputs: dict[int, bytes] = {}
    """Number -> what is to be sent once this is durable."""
    delivered: list[int] = []
    """Numbers of outputs that have arrived, or of which it does not matter any more."""
    next_output: int = 0
    now_ms: int = 0
    """Wall-clock time, for `keep_ms`."""
    keep_ms: int | None = None
    """How long the results of a window stay after it is done; None: for ever."""


class Applied(msgspec.Struct, frozen=True):
    """The flush is in Redis and durable (or an equal or newer one of the same owner was there before)."""


class Refused(msgspec.Struct, frozen=True):
    """The slot has another owner, or the app must not go on; nothing was written."""

    why: str
    halted: bool = False
    """The app is halted until an operator has looked at it."""
    outdated: bool = False
    """A newer run of the app has taken over."""


class Unknown(msgspec.Struct, frozen=True):
    """No answer: it may or may not have been applied. Changes stay dirty and go out again with the next sequence."""

    why: str


class Gone(msgspec.Struct, frozen=True):
    """Redis was restarted (its run id changed) since the slot was loaded: load again before anything else."""


class Enter(msgspec.Struct, frozen=True):
    """A spout's first word: how many partitions it has in all, and what Kafka has committed for those of the task (S1).

    Refused if Redis knows a smaller committed offset than Kafka: then Redis lost data; or if it knows one of a topic of
    the same name with another id: then the topic was deleted and made anew.
    """

    spout: str
    partition_count: int
    committed: dict[str, int]
    partitions: tuple[str, ...] = ()
    """The names of those of the task."""
    behind: tuple[str, ...] = ()
    """Those of them in which there is something to read."""
    counts: dict[str, int] = {}
    """Topic -> how many partitions it has: so many were there when the app began with it, if this is the first word
    of it."""
    by_pattern: bool = False
    """Whether the topics are those that a pattern matches: one that nobody knew has come since the spout began, if it
    has. What is read by name is all there when a spout begins (S1)."""


class Entered(msgspec.Struct, frozen=True):
    """The spout may go on."""

    starts: dict[str, int]
    """Partition -> how many times in a row, this one included, it was begun without getting on."""
    skips: frozenset[str]
    """The records to pass over, as `topic/partition/offset`."""
    counts: dict[str, int] = {}
    """Topic -> how many partitions were there when the app began with it: those from that number on are younger."""
    known: dict[str, int] = {}
    """Partition -> the offset that Redis knows, where Kafka has none: it has forgotten it, or never came so far."""


class Mark(msgspec.Struct, frozen=True):
    """Offsets about to be committed to Kafka; written to Redis first, so that lost Redis data is noticed (S5)."""

    committed: dict[str, int]
    previous: dict[str, int]
    """What this spout wrote last; a smaller or missing stored value means that Redis lost data: the app halts."""
    well: tuple[str, ...] = ()
    """Partitions that have got on: their starts are counted from 0 again."""


class Try(msgspec.Struct, frozen=True):
    """These records are about to be emitted, because something kills the process again and again. One batch at a time
    in the app: whoever enters with a partition of which a single record is still out finds it to blame."""

    owner: str
    """The incarnation of the task."""
    partition: str = ""
    """Empty: nothing of this owner is out any more."""
    offset: int = 0
    """The first one's."""
    records: int = 1


class Tried(msgspec.Struct, frozen=True):
    """Whether they may go; else records of another task are out."""

    granted: bool


class Skips(msgspec.Struct, frozen=True):
    """Ask which records are to be passed over."""


class Skipping(msgspec.Struct, frozen=True):
    records: frozenset[str]
    """As `topic/partition/offset`."""


class Report(msgspec.Struct, frozen=True):
    """Where partitions stand, for `sparse explain`."""

    standings: dict[str, bytes]
    """Partition -> JSON of a `report.PartitionReport`."""


class Counts(msgspec.Struct, frozen=True):
    """Ask for the partition counts and the run marker (K1)."""


class Counted(msgspec.Struct, frozen=True):
    partition_counts: dict[str, int]
    """Spout component -> partitions of all its tasks."""


class Ends(msgspec.Struct, frozen=True):
    """Ask where a bounded input ends; the feed writes it when all is in Kafka."""

    topic: str


class Ended(msgspec.Struct, frozen=True):
    offsets: dict[int, int] | None
    """Partition number -> end offset; None while the feed is under way."""


Request = Load | Flush | Enter | Mark | Try | Skips | Report | Counts | Ends
Reply = Loaded | Applied | Refused | Unknown | Gone | Entered | Tried | Skipping | Counted | Ended
