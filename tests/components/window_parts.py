"""Sales, a bolt over them with any window, and what it shows and sends."""

from typing import Any

from stormline import Count, Record, WindowBolt
from stormline.testing import Driver, Sent


class Sale(Record):
    at: int
    amount: int = 1
    user: str = "ann"


def bolt(window: Any, **settings: Any) -> type:
    """A class in this module, where a worker looks for it."""
    settings = {"key": "user", "window": window, "aggregate": {"n": Count()}, "__module__": __name__, **settings}
    made = globals()["Sales"] = type("Sales", (WindowBolt,), settings)
    return made


def driver(window: Any, **settings: Any) -> Driver:
    return Driver(bolt(window, **settings), schema=Sale, event_time="at", out_of_order="100ms")


def shown(tried: Driver) -> list[tuple[Any, ...]]:
    """(start, end, state, revision, n) of each row."""
    return [(r.start_ms, r.end_ms, r.state, r.revision, r.values["n"]) for r in tried.results()]


def sent(tried: Driver, stream: str) -> list[dict[str, Any]]:
    """What was sent on a stream, each identity once; what came again must be the same."""
    found: dict[str, dict[str, Any]] = {}
    for each in tried.out:
        assert isinstance(each, Sent)
        if each.stream == stream:
            values = dict(each.values)
            assert values == found.setdefault(values["id"], values)
    return list(found.values())


def feed(tried: Driver, *times: int) -> None:
    for at in times:
        tried.send(Sale(at))
    tried.advance("1s")
