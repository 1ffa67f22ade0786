"""Requests to a store, and a way to ask the scripts in a real server."""

import queue
from collections.abc import Callable
from typing import Any

import msgspec

from stormline.connectors.redis import RedisStore
from stormline.connectors.versions import Version
from stormline.core.requests import Flush, Load, Loaded, Reply, Request, Stage, WindowChange

Ask = Callable[[Request], Reply]


def ask_redis(store: RedisStore) -> Ask:
    def ask(request: Request) -> Reply:
        replies: queue.SimpleQueue[list[Reply]] = queue.SimpleQueue()
        store.submit("app", [request], replies.put, lambda call: call())
        (reply,) = replies.get(timeout=60)
        return reply

    return ask


GRAPH = Version("graph", {"bolt": {"key": "user"}})


def flush(
    sequence: int, *windows: WindowChange, owner: str = "me", late: int = 0, floor: int = 0, **more: Any
) -> Flush:
    records = {
        number: msgspec.json.encode(
            {
                "number": number,
                "key": "k",
                "window": "w",
                "time_ms": 1,
                "partition": "t/0",
                "offset": number,
                "record": {},
            }
        )
        for number in range(late)
    }
    return Flush(
        "bolt", 3, owner, sequence, {"t/0": floor}, {"lane": {"t/0": [7, 9]}}, 50, late, records, list(windows), **more
    )


def window(start: int = 0, *, final: bool = False, stage: Stage = "live", **results: str) -> WindowChange:
    return WindowChange("w", f"{start}@k:1", start, start + 10, final, 0, results, results, stage)


def loaded(ask: Ask, owner: str = "me", run: int = 1, *, again: bool = False) -> Loaded:
    reply = ask(Load("bolt", 3, owner, run, again))
    assert isinstance(reply, Loaded), reply
    return reply
