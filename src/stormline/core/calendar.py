"""Windows of the calendar: days, weeks, months, quarters, years of a time zone, over all changes of its clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stormline.core.window import Span

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_UNITS = ("day", "week", "month", "quarter", "year")


class Calendar:
    """Days, weeks (from Monday), months, quarters or years of a time zone's calendar. Make it with `calendar`.

    A window is as long as the calendar says: a day is 23 or 25 hours when the clocks change.
    """

    def __init__(self, unit: str, zone: tzinfo, zone_name: str) -> None:
        self.unit = unit
        self.name = f"{unit}-{zone_name}"
        self._zone = zone
        self._last = Span(0, 0)

    def span(self, time_ms: int) -> Span:
        start_ms, end_ms = self._last
        if not start_ms <= time_ms < end_ms:  # neighbours in a stream mostly share a window
            self._last = self._find(time_ms)
        return self._last

    def _find(self, time_ms: int) -> Span:
        local = (_EPOCH + time_ms * _MS).astimezone(self._zone)
        day = datetime(local.year, local.month, local.day)
        match self.unit:
            case "day":
                start, end = day, day + timedelta(days=1)
            case "week":
                start = day - timedelta(days=day.weekday())
                end = start + timedelta(days=7)
            case "month":
                start, end = _months(day, 1)
            case "quarter":
                start, end = _months(day, 3)
            case _:
                start, end = _months(day, 12)
        return Span(self._instant_ms(start), self._instant_ms(end))

    def _instant_ms(self, local_midnight: datetime) -> int:
        return (local_midnight.replace(tzinfo=self._zone).astimezone(UTC) - _EPOCH) // _MS


def _months(day: datetime, count: int) -> tuple[datetime, datetime]:
    first = (day.month - 1) // count * count
    start = datetime(day.year, first + 1, 1)
    years, month = divmod(first + count, 12)
    return start, datetime(day.year + years, month + 1, 1)


def calendar(unit: str, tz: str = "UTC") -> Calendar:
    """Windows of the calendar, such as `calendar("month")` or `calendar("day", tz="Asia/Shanghai")`.

    Raises:
        ValueError: the unit is none of day, week, month, quarter, year, or the time zone is unknown.
    """
    if unit not in _UNITS:
        raise ValueError(f"{unit!r} is no calendar unit; choose one of {', '.join(_UNITS)}")
    if tz == "UTC":
        return Calendar(unit, UTC, tz)
    try:
        return Calendar(unit, ZoneInfo(tz), tz)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{tz!r} is no time zone of the tz database, such as Europe/Berlin") from None
