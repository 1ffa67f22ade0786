"""Results as people and programs read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stormline.cli.screen import aligned, clipped, date
from stormline.core.record import Origin
from stormline.core.table import KEYED_STATE
from stormline.core.window import FAR_MS

if TYPE_CHECKING:
    from stormline.connectors.results import LateRecord, Row


def json_line(row: Row) -> bytes:
    """One JSON object: times ISO 8601 (null for an end that never comes), decimals as texts, the aggregates by name."""
    import msgspec

    return msgspec.json.encode(
        {
            "component": row.component,
            "key": row.key,
            "window": row.window,
            "start": iso(row.start_ms),
            "end": None if row.end_ms == FAR_MS else iso(row.end_ms),
            "state": row.state,
            "revision": row.revision,
            **row.values,
        }
    )


def late_json_line(late: LateRecord) -> bytes:
    """One JSON object: when it was, where it came from, and the record."""
    import msgspec

    return msgspec.json.encode(
        {
            "component": late.component,
            "key": late.key,
            "window": late.window,
            "time": iso(late.time_ms),
            "origin": str(Origin(late.partition, late.offset)),
            "record": late.record,
        }
    )


def late_table(records: Iterable[LateRecord]) -> list[str]:
    """Lines of text with headings; nothing for no records."""
    lines = [
        [date(each.time_ms), each.window, shown(each.key), str(Origin(each.partition, each.offset)), shown(each.record)]
        for each in records
    ]
    return aligned(["time", "kind", "key", "origin", "record"], lines) if lines else []


def iso(ms: int) -> str:
    """1997-01-01T00:00:00Z, with milliseconds if there are any."""
    at = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z" if ms % 1000 else f"{at:%Y-%m-%dT%H:%M:%S}Z"


def table(rows: Iterable[Row], *, rounded: Collection[str] = ()) -> list[str]:
    """Lines of text with headings; nothing for no rows. `rounded`: quotients, shown to two places."""
    listed = list(rows)
    if not listed:
        return []
    names = list(listed[0].values)
    keyed = any(row.key is not None for row in listed)
    windowed = any(row.window != KEYED_STATE for row in listed)
    several = len({row.window for row in listed}) > 1
    of_keys = any(row.window.startswith(("session", "count")) for row in listed)
    headings = ["window"] * windowed + ["end"] * of_keys + ["kind"] * several + ["key"] * keyed + names
    return aligned(
        headings + ["state", "rev"] * windowed,
        [
            [window(row)] * windowed
            + [date(None if row.end_ms == FAR_MS else row.end_ms)] * of_keys
            + [row.window] * several
            + [shown(row.key)] * keyed
            + [shown(row.values.get(name), rounded=name in rounded) for name in names]
            + [row.state, str(row.revision)] * windowed
            for row in listed
        ],
    )


def window(row: Row) -> str:
    return date(row.start_ms)


def quotients(component_cls: Any) -> set[str]:
    """The aggregates of a keyed component whose digits may have no end."""
    from stormline.core.aggregate import Mean, Variance, WeightedMean

    endless = (Mean, Variance, WeightedMean)
    return {
        name for name, aggregate in getattr(component_cls, "aggregate", {}).items() if isinstance(aggregate, endless)
    }


def shown(value: Any, *, rounded: bool = False) -> str:
    """A value for the eye, cut where it is long; `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, bool | Mapping | list):
        import msgspec

        return clipped(msgspec.json.encode(value).decode())
    number = amount(value) if rounded else None
    return clipped(str(value)) if number is None else f"{number:.2f}"


def amount(value: Any) -> Decimal | None:
    """A number, also one that is written as text, exactly; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() else None
