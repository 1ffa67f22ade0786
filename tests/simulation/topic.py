"""The topic of a history: what lies in its partitions, how much of it is there yet, what is committed."""

from __future__ import annotations

from random import Random


class Topic:
    """All is drawn when it is made. Offsets in `gaps` hold nothing; of the partitions only `known` are known yet."""

    def __init__(self, random: Random, partitions: int, out_of_order_ms: int) -> None:
        self.logs = [_log(random, random.randint(3, 14), out_of_order_ms) for _ in range(partitions)]
        self.gaps = [{o for o in range(len(log)) if random.random() < 0.1} for log in self.logs]
        self.known = self.known_at_first = partitions if random.random() < 0.7 else 1
        self.produced = [random.randint(0, len(log)) for log in self.logs]
        self.committed = [0] * partitions

    def complete(self) -> None:
        """All partitions are known, and all their records there."""
        self.known, self.produced = len(self.logs), [len(log) for log in self.logs]

    @property
    def ends(self) -> dict[str, int]:
        """Where each partition ends, once all is there."""
        return {f"t/{p}": len(log) for p, log in enumerate(self.logs)}


def _log(random: Random, length: int, out_of_order_ms: int) -> list[int]:
    """The event time of each offset; some come further out of order than the bound."""
    at, log = 0, []
    for _ in range(length):
        at += random.randint(0, 8)
        log.append(max(0, at - random.randint(0, out_of_order_ms + 4)))
    return log
