"""Which version of a topology made what is stored of an app, and what happens when another one starts on it.

What a bolt keeps is read by its key, windows, aggregates and structs. Where one of them has changed, what is stored may
mean something else now: nothing starts before the user has said whether to keep it, to migrate it or to drop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import redis

from stormline.connectors.redis_commands import app_key, slot_tag, window_name
from stormline.core.errors import StateError
from stormline.core.included import Ranges
from stormline.core.slot import SLOTS, key_value

Choice = Literal["keep", "migrate", "drop"]
CHOICES: tuple[Choice, ...] = ("keep", "migrate", "drop")


class Version(NamedTuple):
    """A topology, as far as its state depends on it."""

    graph: str
    """A hash over all of it."""
    states: dict[str, dict[str, Any]]
    """Keyed component -> what its state is read by, in JSON types."""
    slots: int = SLOTS
    """Over which its keys are spread."""


class Stored(NamedTuple):
    """What is stored of a key in a window that may still change; a bolt's `migrate` gets it, and returns what it is to
    be, or None for nothing."""

    key: Any
    """The key's JSON value; None for a bolt without a key."""
    window: str
    """Kind and size; with `#panes` behind it, a pane of it; `state` for keyed state."""
    result: dict[str, Any] | None
    """Aggregates by name, or the fields of the state; None: there is none (of a pane)."""
    state: Any
    """The accumulators that the result does not determine, a list; timers, with keyed state; None: there are none."""


Migrate = Callable[[Stored], Stored | None]


def require_version(client: redis.Redis, app: str, version: Version, choice: Choice | None = None) -> None:
    """Nothing is changed. Raises StateError: a bolt's state was made by another version, and nobody has chosen."""
    if client.get(app_key(app, "graph")) in (None, version.graph.encode()):
        return
    found: Any = client.get(app_key(app, "slots"))
    stored = SLOTS if found is None else int(found)
    if stored != version.slots:
        raise StateError(
            f"what is stored of {app} has {stored} slots, and stormline.slots is {version.slots} now: "
            f"`sparse reslot -n {app}` changes what is stored, while nothing runs"
        )
    if choice is not None:
        return
    changed = changes(client, app, version)
    if changed:
        raise StateError(
            f"the stored state of {app} was made by another version of it:\n"
            + "".join(f"  {component}: {what}\n" for component, what in changed.items())
            + "Say what is to become of it: --state keep (it is read as it is), --state migrate (each row goes through "
            "the bolt's migrate), --state drop (it is deleted, with its results; counting goes on from here). Or give "
            "this version another name with -n, or begin anew with --fresh"
        )


def take_over(
    client: redis.Redis, app: str, version: Version, choice: Choice | None, migrations: Mapping[str, Migrate]
) -> None:
    """From now on what is stored is this version's. Raises StateError: see `require_version`; a record that was counted
    may come again, and would be counted under other keys; a bolt has no `migrate`, or it raised."""
    stored = client.get(app_key(app, "graph"))
    if stored == version.graph.encode():
        return
    require_version(client, app, version, choice)
    pipeline = client.pipeline()  # one transaction: what has gone through `migrate` never does so again
    if stored is not None:
        changed = changes(client, app, version)
        known = texts(client, app_key(app, "versions")).keys() & version.states.keys()
        if choice != "drop" and not drained(client, app, known, version.slots):
            raise StateError(
                f"{app} was made by another version, and has counted records that may come again and would then be "
                "counted twice: let that version come to its end first (deactivate it, wait until it has committed, "
                "kill it), or begin anew with --fresh"
            )
        missing = [component for component in changed if choice == "migrate" and component not in migrations]
        if missing:
            raise StateError(f"--state migrate: {', '.join(missing)} has no method migrate(self, stored)")
        writes: list[_Write] = []
        for component in changed:
            if choice == "drop":
                _drop(client, app, component, version.slots)
                continue
            kept, left = _windows(client, app, component, version)
            for tag, field in left:
                pipeline.hdel(f"{tag}:live", field)
                pipeline.unlink(f"{tag}:s:{field}")
            if choice == "migrate":
                writes += _migrated(client, component, kept, migrations[component])
        _write(pipeline, writes)
    pipeline.mset({app_key(app, "graph"): version.graph, app_key(app, "slots"): version.slots})
    if version.states:
        versions: dict[Any, Any] = {each: msgspec.json.encode(state) for each, state in version.states.items()}
        pipeline.hset(app_key(app, "versions"), mapping=versions)
    pipeline.execute()


def changes(client: redis.Redis, app: str, version: Version) -> dict[str, str]:
    """Component -> in what its stored state differs."""
    changed = {}
    for component, raw in texts(client, app_key(app, "versions")).items():
        was, now = msgspec.json.decode(raw), version.states.get(component)
        if now is not None and was != now:
            parts = [part for part in was.keys() | now.keys() if was.get(part) != now.get(part)]
            told = (f"{part} was {_told(was.get(part))}, is {_told(now.get(part))}" for part in sorted(parts))
            changed[component] = "; ".join(told)
    return changed


def _told(part: Any) -> str:
    return "nothing" if part is None else msgspec.json.encode(part).decode()


def drained(client: redis.Redis, app: str, components: Iterable[str], slots: int) -> bool:
    """Whether all that these components have counted is committed, so that none of it comes again."""
    committed = {partition: int(at) for partition, at in texts(client, app_key(app, "commits")).items()}
    for component in components:
        for tag in _tags(app, component, slots):
            raw: Any = client.hget(f"{tag}:slot", "included")
            included = msgspec.msgpack.decode(raw, type=Ranges) if raw else {}
            for partitions in included.values():
                for partition, bounds in partitions.items():
                    if bounds and bounds[-1] > committed.get(partition, 0):
                        return False
    return True


def _tags(app: str, component: str, slots: int) -> Iterator[str]:
    return (slot_tag(app, component, slot) for slot in range(slots))


def _drop(client: redis.Redis, app: str, component: str, slots: int) -> None:
    for tag in _tags(app, component, slots):
        pattern = "".join(f"\\{c}" if c in "*?[]\\" else c for c in tag)
        keys = list(client.scan_iter(match=f"{pattern}:*", count=1000))
        if keys:
            client.unlink(*keys)


_Place = tuple[str, str]
"""Tag of a slot, field of a window."""


def _windows(client: redis.Redis, app: str, component: str, version: Version) -> tuple[list[_Place], list[_Place]]:
    """Windows that may still change, and those among them of kinds that the bolt no longer has: they stay as they are,
    and are not counted on."""
    names = version.states[component].get("window")
    kept: list[_Place] = []
    left: list[_Place] = []
    for tag in _tags(app, component, version.slots):
        for field in texts(client, f"{tag}:live"):
            name = window_name(field)[0].partition("#")[0]
            (kept if names is None or name in names else left).append((tag, field))
    return kept, left


_Write = tuple[str, str, str, Stored | None]
"""Tag of a slot, field of a window, key, and what is to be stored of it."""


def _migrated(client: redis.Redis, component: str, places: Iterable[_Place], migrate: Migrate) -> list[_Write]:
    """All rows are migrated before one is written: if the user's function raises, nothing has changed."""
    writes: list[_Write] = []
    for tag, field in places:
        results, states = texts(client, f"{tag}:w:{field}"), texts(client, f"{tag}:s:{field}")
        for key in results | states:
            result, state = (msgspec.json.decode(rows[key]) if key in rows else None for rows in (results, states))
            stored = Stored(key_value(key), window_name(field)[0], result, state)
            try:
                writes.append((tag, field, key, migrate(stored)))
            except Exception as error:
                raise StateError(f"{component}.migrate raised {type(error).__name__}: {error}, for {stored}") from error
    return writes


def _write(pipeline: Any, writes: Iterable[_Write]) -> None:
    for tag, field, key, migrated in writes:
        for kind, value in (("w", migrated and migrated.result), ("s", migrated and migrated.state)):
            if value is None:
                pipeline.hdel(f"{tag}:{kind}:{field}", key)
            else:
                pipeline.hset(f"{tag}:{kind}:{field}", key, _encode(value))


def texts(client: redis.Redis, key: str) -> dict[str, str]:
    """A hash whose values are texts."""
    found: Any = client.hgetall(key)
    return {field.decode(): value.decode() for field, value in found.items()}


_encode = msgspec.json.Encoder(decimal_format="string").encode
