"""What spout tasks tell every keyed bolt: watermarks and frontiers of their partitions, and what a bolt makes of them.

A claim says "all offsets below the frontier are flushed" and "nothing older than the watermark is unflushed". Both
stay true for ever once true, whoever says them: claims may come late, twice, out of order, or from a dead spout.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one partition."""

    partition: str
    position: int
    frontier: int
    watermark_ms: int | None
    """None until the first record was emitted."""
    idle: bool
    """Caught up with the broker's log end, nothing unacked, for the idle time-out."""
    ended: bool
    """At the end of a bounded input, nothing unacked."""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """The values of a progress tuple: one spout task's claims."""

    spout: str
    task: int
    incarnation: str
    sequence: int
    partition_count: int
    """Partitions of all tasks of this spout."""
    claims: tuple[Claim, ...]
    acked: tuple[int, ...] = ()
    """Sequences of progress tuples of this incarnation that were acked of late, and with them all that was anchored to
    them. Empty where nothing is anchored to progress."""
    failed: tuple[int, ...] = ()
    forgotten: int = 0
    """Of sequences below this one nothing will be said any more."""


class Told:
    """What has become of the progress tuples of one spout task; each says it of those before it."""

    REMEMBERED = 32

    def __init__(self) -> None:
        self._outcomes: dict[int, bool] = {}
        """Sequence -> whether it was acked; the latest."""
        self._under_way: dict[int, None] = {}

    def came_to(self, sequence: int, *, arrived: bool) -> None:
        self._under_way.pop(sequence, None)
        self._outcomes[sequence] = arrived
        while len(self._outcomes) > self.REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]

    def stamp(self, progress: Progress) -> Progress:
        """The progress with what is known of earlier ones, which is now under way itself."""
        self._under_way[progress.sequence] = None
        outcomes = self._outcomes
        return msgspec.structs.replace(
            progress,
            acked=tuple(sequence for sequence, arrived in outcomes.items() if arrived),
            failed=tuple(sequence for sequence, arrived in outcomes.items() if not arrived),
            forgotten=min([*outcomes, *self._under_way]),
        )


PROGRESS_FIELDS = ("progress",)


class ProgressView:
    """A keyed bolt's view of all partitions upstream (K5)."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        """`counts`: each spout upstream -> its partitions, as far as the store knows them (0: unknown)."""
        self._counts = dict(counts)
        self._claims: dict[tuple[str, str], Claim] = {}
        self.floor: dict[str, int] = {}
        """Per partition the highest frontier heard: everything below is flushed."""

    def observe(self, progress: Progress) -> None:
        self._counts[progress.spout] = max(self._counts.get(progress.spout, 0), progress.partition_count)
        for claim in progress.claims:
            self._observe(progress.spout, claim)

    def _observe(self, spout: str, new: Claim) -> None:
        self.raise_floor({new.partition: new.frontier})
        old = self._claims.get((spout, new.partition))
        if old is not None:
            latest = new if new.position >= old.position else old
            watermark_ms = max((w for w in (old.watermark_ms, new.watermark_ms) if w is not None), default=None)
            new = Claim(
                new.partition,
                latest.position,
                max(old.frontier, new.frontier),
                watermark_ms,
                idle=latest.idle,
                ended=latest.ended,
            )
        self._claims[spout, new.partition] = new

    def raise_floor(self, floor: Mapping[str, int]) -> None:
        """Floors only go up: a frontier once reached stays reached."""
        for partition, offset in floor.items():
            if offset > self.floor.get(partition, -1):
                self.floor[partition] = offset

    @property
    def complete(self) -> bool:
        """Every partition upstream has been heard of; before that, nothing may close."""
        heard = dict.fromkeys(self._counts, 0)
        for spout, _ in self._claims:
            heard[spout] += 1
        return all(count > 0 and heard[spout] >= count for spout, count in self._counts.items())

    @property
    def quiet(self) -> bool:
        """Every partition is idle or at its end: what is open may close."""
        return self.complete and all(claim.idle or claim.ended for claim in self._claims.values())

    @property
    def watermark_ms(self) -> int | None:
        """The least watermark of the partitions that are neither idle nor ended; None if nothing may be concluded."""
        if not self.complete:
            return None
        live = [claim.watermark_ms for claim in self._claims.values() if not claim.idle and not claim.ended]
        known = [w for w in live if w is not None]
        return min(known) if known and len(known) == len(live) else None
