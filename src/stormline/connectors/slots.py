"""Another number of slots for what is stored of an app: an offline step, since a slot is part of every key.

Nothing may run meanwhile, and nothing may be on its way: all that was counted is committed, all that was sent on has
arrived. All of it changes in one transaction, or nothing does.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import redis

from stormline.connectors.redis_commands import WindowEntry, app_key, slot_tag, window_name
from stormline.connectors.versions import drained, texts
from stormline.core.errors import StateError
from stormline.core.slot import SLOTS, slot_of
from stormline.core.window import sliding_named

_entry = msgspec.json.Decoder(WindowEntry).decode
_encode = msgspec.json.encode


def stored_slots(client: redis.Redis, app: str) -> int:
    """How many slots what is stored of the app has."""
    found: Any = client.get(app_key(app, "slots"))
    return SLOTS if found is None else int(found)


def change_slots(client: redis.Redis, app: str, slots: int) -> int:
    """Give the app so many slots; how many rows have moved.

    Raises:
        StateError: something of it may come again, or is still to be sent or closed.
    """
    old = stored_slots(client, app)
    if old == slots:
        return 0
    components = sorted(texts(client, app_key(app, "versions")))
    tags = {component: [slot_tag(app, component, slot) for slot in range(old)] for component in components}
    unsent = any(client.exists(f"{tag}:outputs") for of_component in tags.values() for tag in of_component)
    if unsent or not drained(client, app, components, old):
        raise StateError(
            f"{app} has counted records that are not committed yet, or has sent what has not arrived: let it come to "
            "its end first (deactivate it, wait, kill it)"
        )
    for component in components:
        if not _together(client, tags[component]):
            raise StateError(
                f"{component} has closed windows in some slots that others have not closed yet: start {app} once more "
                f"with {old} slots, let it come to rest, and stop it"
            )
    found: Any = client.get(app_key(app, "run"))
    run = int(found or 0) + 1  # an older run, if one goes on all the same, can load and write nothing any more
    pipeline = client.pipeline(transaction=True)
    moved = 0
    for component in components:
        new = [slot_tag(app, component, slot) for slot in range(slots)]
        moved += _move(client, pipeline, tags[component], new, run)
    pipeline.mset({app_key(app, "slots"): slots, app_key(app, "run"): run})
    pipeline.execute()
    return moved


def _together(client: redis.Redis, tags: list[str]) -> bool:
    """No slot still has something to close that the watermark of another has passed: each new slot goes on from the
    highest of them, and would never close it, or count on in a window that is done."""
    marks = {tag: int(mark) for tag in tags if (mark := client.hget(f"{tag}:slot", "wm"))}
    highest_ms = max(marks.values(), default=None)
    if highest_ms is None:
        return True
    live = {tag: texts(client, f"{tag}:live") for tag in tags}
    done = {field for tag in tags for field in texts(client, f"{tag}:windows").keys() - live[tag].keys()}
    for tag, fields in live.items():
        for field, raw in fields.items():
            entry, (name, _, inner) = _entry(raw), window_name(field)[0].partition("#")
            windower = sliding_named(name) if inner else None
            if field in done or (not inner and entry.state == "open" and entry.end <= highest_ms):
                return False
            if windower is not None:
                end_ms = windower.first_end_ms(max(entry.start, marks.get(tag, entry.start)))
                if end_ms - windower.size_ms <= entry.start and end_ms <= highest_ms:
                    return False
    return True


def _move(client: redis.Redis, pipeline: Any, old: list[str], new: list[str], run: int) -> int:
    """All of a component's slots, as commands."""
    hashes: dict[str, dict[str, str]] = defaultdict(dict)
    places: dict[str, list[int]] = {}
    for tag in old:
        for field in texts(client, f"{tag}:windows") | texts(client, f"{tag}:live"):
            for kind in ("w", "s"):
                for key, row in texts(client, f"{tag}:{kind}:{field}").items():
                    slot = slot_of(key, len(new))
                    hashes[f"{new[slot]}:{kind}:{field}"][key] = row
                    places.setdefault(field, []).append(slot)
    for index in ("windows", "live"):
        for field, entry in _entries(client, old, index).items():
            for slot in set(places.get(field, ())):
                hashes[f"{new[slot]}:{index}"][field] = entry
    expiry: dict[str, float] = {}
    for tag in old:
        kept: Any = client.zrange(f"{tag}:expiry", 0, -1, withscores=True)
        expiry |= {field.decode(): until for field, until in kept}
    head = _head(client, old) | {"run": run}
    late = [record for tag in old for record in texts(client, f"{tag}:late").values()]
    for tag in old:
        for key in client.scan_iter(match=f"{_escaped(tag)}:*", count=1000):
            pipeline.delete(key)
    for slot, tag in enumerate(new):
        pipeline.hset(f"{tag}:slot", mapping={**head, "late": head["late"] if slot == 0 else 0})
    for number, record in enumerate(late):
        pipeline.hset(f"{new[0]}:late", str(number), record)
    for key, rows in hashes.items():
        pipeline.hset(key, mapping=rows)
    for field, until in expiry.items():
        for slot in set(places.get(field, ())):
            pipeline.zadd(f"{new[slot]}:expiry", {field: until})
            pipeline.pexpireat(f"{new[slot]}:w:{field}", int(until))
    return sum(len(rows) for key, rows in hashes.items() if ":w:" in key)


def _entries(client: redis.Redis, old: list[str], index: str) -> dict[str, str]:
    """The windows of an index over all slots: final if they are in all, with the highest revision."""
    found: dict[str, WindowEntry] = {}
    for tag in old:
        for field, raw in texts(client, f"{tag}:{index}").items():
            entry, other = _entry(raw), found.get(field)
            if other is not None:
                state = "final" if entry.state == other.state == "final" else "open"
                entry = WindowEntry(entry.start, entry.end, state, max(entry.revision, other.revision))
            found[field] = entry
    return {field: _encode(entry).decode() for field, entry in found.items()}


def _head(client: redis.Redis, old: list[str]) -> dict[str, Any]:
    """What each new slot begins with: the highest of everything, since what is done must not begin again."""
    slots: list[dict[bytes, bytes]] = [client.hgetall(f"{tag}:slot") for tag in old]  # type: ignore[misc]
    floor: dict[str, int] = {}
    for slot in slots:
        raw = slot.get(b"floor")
        for partition, offset in (msgspec.msgpack.decode(raw, type=dict[str, int]) if raw else {}).items():
            floor[partition] = max(offset, floor.get(partition, 0))
    highest = {name: max(int(slot.get(name.encode()) or 0) for slot in slots) for name in ("seq", "out")}
    marks = [int(slot[b"wm"]) for slot in slots if slot.get(b"wm")]
    late = sum(int(slot.get(b"late") or 0) for slot in slots)
    mark = max(marks) if marks else ""
    return {**highest, "floor": msgspec.msgpack.encode(floor), "included": b"", "wm": mark, "late": late}


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)
