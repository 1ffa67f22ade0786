"""A source, records for it, and what it emits, for the tests of the rules of a spout task."""

from stormline.core.batch import Rows
from stormline.core.pending import Limits
from stormline.core.source import Emission, Source


def source(**limits: int) -> Source:
    made = Source("s", 1, "me", Limits(**limits))
    made.assign("p", 0, 0, 0)
    return made


def take(made: Source, *offsets: int, times: list[int] | None = None) -> None:
    rows = Rows(list(offsets), times or [o * 10 for o in offsets], [f"r{o}" for o in offsets])
    made.take("p", rows, [], offsets[-1] + 1, 100, 0)


def fill(made: Source, partition: str, offset: int, times: list[int], log_end: int = 10**9, size: int = 0) -> None:
    rows = Rows([offset + i for i in range(len(times))], times, times)
    made.take(partition, rows, [], offset + len(times), log_end, 0, size)


def emit(made: Source, now_ms: int = 0) -> Emission:
    emission = made.next(now_ms)
    assert emission is not None
    return emission
