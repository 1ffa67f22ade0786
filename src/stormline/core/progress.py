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
