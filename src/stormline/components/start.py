"""Where a spout starts in partitions of which its app has committed nothing; and committed offsets that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stormline.core.errors import StateError

if TYPE_CHECKING:
    from stormline.core.events import Assigned, Standing
    from stormline.core.requests import Entered

COMMITTED, EARLIEST, LATEST = "committed", "earliest", "latest"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Start = str | datetime | Mapping[int, int] | Mapping[str, int]


def start_setting(value: Any) -> None:
    """Check: where to start."""
    if isinstance(value, Mapping):
        if all(_is_partition(name) and isinstance(offset, int) and offset >= 0 for name, offset in value.items()):
            return
        raise ValueError('give offsets by partition, as {0: 1200, 1: 1150} or {"orders/0": 1200, "returns/0": 7}')
    if value not in (COMMITTED, EARLIEST, LATEST) and _time(value) is None:
        raise ValueError(
            f'give "{EARLIEST}", "{LATEST}", "{COMMITTED}", a time (a datetime, or text such as "2026-01-01T06:00Z"), '
            "or offsets by partition, as {0: 1200, 1: 1150}"
        )


def _is_partition(name: Any) -> bool:
    if isinstance(name, str):
        topic, _, number = name.rpartition("/")
        return bool(topic) and number.isdigit()
    return isinstance(name, int) and name >= 0


def start_ms(start: Start) -> int | None:
    """The time to start at, in ms since the epoch; None: it is no time. Without a zone it is UTC."""
    at = _time(start)
    return None if at is None else int((at - _EPOCH).total_seconds() * 1000)


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def check_committed(component: str, assigned: Assigned) -> None:
    """Raises StateError if a committed offset is not in the log."""
    told = [lost(each.partition, each.committed, each.beginning, each.log_end) for each in assigned.standings]
    _raise(component, [fault for fault in told if fault is not None])


def positions(component: str, start: Start, assigned: Assigned, entered: Entered) -> dict[str, int]:
    """Partition -> the offset to read from: what is committed, else what Redis knows, else what `start` says.

    Kafka forgets what was committed for a partition in which nothing has come for `offsets.retention.minutes`, also
    while the app runs, as its group has no members (KIP-211).

    A partition that has come since the app began with its topic is read from its first record: "latest" would leave out
    what came before anybody saw it. What other tasks have committed does not tell: they may have begun a moment before.

    Raises StateError if that offset is not in the log; if nothing is committed where `start` asks for it.
    """
    faults = []
    found = {}
    for each in assigned.standings:
        at = entered.known.get(each.partition, each.committed)
        gone = lost(each.partition, at, each.beginning, each.log_end)
        if gone is not None:
            faults.append(gone)
        elif at is None and start in (COMMITTED, LATEST) and each.number >= entered.counts[each.topic]:
            at = each.beginning
        elif at is None and start == COMMITTED:
            faults.append(
                f'of {each.partition} nothing is committed, and start = "{COMMITTED}": is this the name under which '
                f'the topology ran before? To begin, set start = "{EARLIEST}" or another place'
            )
        elif at is None:
            at = _begin(start, each)
            if not each.beginning <= at <= each.log_end:
                held = f"the topic holds {each.beginning} to {each.log_end}"
                faults.append(f"{each.partition} is to start at offset {at}, but {held}")
        found[each.partition] = each.beginning if at is None else at
    _raise(component, faults)
    return found


def _raise(component: str, faults: Sequence[str]) -> None:
    if faults:
        raise StateError("\n".join(f"{component}: {fault}" for fault in faults))


def _begin(start: Start, standing: Standing) -> int:
    if isinstance(start, Mapping):
        named: Mapping[Any, int] = start
        by_number = named.get(standing.number, standing.beginning)
        return named.get(f"{standing.topic}/{standing.number}", by_number)
    if start == LATEST:
        return standing.log_end
    return standing.beginning if standing.since is None else standing.since


def lost(partition: str, at: int | None, first: int, end: int) -> str | None:
    """What is wrong with a committed offset, `at`, that is not in the log, and what to do."""
    if at is None or first <= at <= end:
        return None
    what = f"offset {at} of {partition} is committed, but the topic holds {first} to {end}: "
    if at < first:
        what += (
            f"the {first - at:,} offsets from {at} to {first - 1} were deleted before they were read (retention). "
            "Results without them would look complete"
        )
    else:
        what += f"it was made anew, or the {at - end:,} offsets from {end} to {at - 1} were lost"
    return f"{what}. Begin anew with --fresh, or under another name (-n); both start where `start` of the spout says"
