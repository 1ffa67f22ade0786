"""Readings, a filter and windows over them, and a driver that tries them."""

from decimal import Decimal
from typing import Any

from stormline import Count, FilterBolt, Record, Sum, WindowBolt, tumbling
from stormline.testing import Driver


class Reading(Record):
    at: int
    value: Decimal
    sensor: str = "a"


class Good(FilterBolt):
    def keep(self, record: Reading) -> bool:
        return 1 / record.value > 0


class PerTen(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count(), "total": Sum("value")}


def driver(bolt: type = PerTen, **settings: Any) -> Driver:
    return Driver(bolt, schema=Reading, event_time="at", **settings)


def reading(at: int, value: int = 1, sensor: str = "a") -> dict[str, Any]:
    return {"at": at, "value": value, "sensor": sensor}


def counts(tried: Driver) -> dict[int, tuple[str, int, int]]:
    return {row.start_ms: (row.state, row.revision, row.values["readings"]) for row in tried.results()}
