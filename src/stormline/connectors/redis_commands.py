"""How each request to the store becomes a command of Redis, and how the answer is read. Where keys live:

`{app}:run`, `:graph`, `:halt`, `:commits`, `:partitions`, `:begun`, `:ends:<topic>` for the app; `:starts`, `:trying`,
`:blamed`, `:skips`, `:standings`, `:replayed` for what holds it up;
`{app:component:slot}:…` for a slot (see load.lua and flush.lua): one hash tag a slot, so Redis Cluster stays possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec

from stormline.core.included import Ranges
from stormline.core.requests import (
    Applied,
    Counted,
    Counts,
    Ended,
    Ends,
    Enter,
    Entered,
    Flush,
    Load,
    Loaded,
    LoadedWindow,
    Mark,
    Refused,
    Reply,
    Report,
    Request,
    Skipping,
    Skips,
    Tried,
    Try,
    Unknown,
)

SCRIPTS = {
    name: (files("stormline.connectors") / f"{name}.lua").read_text()
    for name in ("load", "flush", "enter", "mark", "try")
}

_pack = msgspec.msgpack.encode
_floor = msgspec.msgpack.Decoder(dict[str, int]).decode
_included = msgspec.msgpack.Decoder(Ranges).decode


class WindowEntry(msgspec.Struct):
    """A window in the index of its slot."""

    start: int
    end: int
    """ms since the epoch, as the start is"""
    state: str
    """open | final"""
    revision: int


_entry_json = msgspec.json.Encoder().encode
_entry = msgspec.json.Decoder(WindowEntry).decode


def app_key(app: str, name: str) -> str:
    return f"{{{app}}}:{name}"


def slot_tag(app: str, component: str, slot: int) -> str:
    return f"{{{app}:{component}:{slot}}}"


def command(app: str, request: Request, shas: Mapping[str, str]) -> list[Any]:
    """The command, as redis-py's execute_command takes it."""
    match request:
        case Load():
            tag = slot_tag(app, request.component, request.slot)
            return ["EVALSHA", shas["load"], 1, tag, request.owner, request.run, "1" if request.again else "0"]
        case Flush():
            return ["EVALSHA", shas["flush"], 1, slot_tag(app, request.component, request.slot), *_flush_args(request)]
        case Enter():
            parts = ("commits", "partitions", "halt", "run", "starts", "skips", "trying", "blamed", "begun")
            keys = [app_key(app, name) for name in parts]
            offsets = [x for pair in request.committed.items() for x in pair]
            names = [len(request.partitions), *request.partitions, len(request.behind), *request.behind]
            counts = [len(request.counts), *(x for pair in request.counts.items() for x in pair)]
            spout = [request.spout, request.partition_count, int(request.by_pattern), *counts]
            return ["EVALSHA", shas["enter"], 9, *keys, *spout, *names, *offsets]
        case Mark():
            keys = [app_key(app, name) for name in ("commits", "halt", "starts", "run")]
            offsets = [x for p, o in request.committed.items() for x in (p, o, request.previous.get(p, -1))]
            return ["EVALSHA", shas["mark"], 4, *keys, len(request.well), *request.well, *offsets]
        case Try():
            trying = app_key(app, "trying")
            what = (request.partition, request.offset, request.records)
            return ["EVALSHA", shas["try"], 1, trying, request.owner, *what]
        case Skips():
            return ["HKEYS", app_key(app, "skips")]
        case Report():
            return ["HSET", app_key(app, "standings"), *(x for pair in request.standings.items() for x in pair)]
        case Counts():
            return ["HGETALL", app_key(app, "partitions")]
        case Ends():
            return ["HGETALL", app_key(app, f"ends:{request.topic}")]


def window_name(field: str) -> tuple[str, str]:
    """Name and id of a window, from a field of an index."""
    name, _, id_ = field.partition(":")
    return name, id_


def _flush_args(flush: Flush) -> list[Any]:
    windows = [
        (
            f"{window.name}:{window.id}",
            _entry_json(
                WindowEntry(window.start_ms, window.end_ms, "final" if window.final else "open", window.revision)
            ).decode(),
            window.stage,
            [x for pair in window.results.items() for x in pair],
            [x for pair in window.states.items() for x in pair],
            window.removed,
        )
        for window in flush.windows
    ]
    # One argument, since redis-py takes its time over each; texts, since the server's msgpack knows no byte strings.
    changes = _pack(
        (_numbered(flush.late_records), _numbered(flush.outputs), [str(number) for number in flush.delivered], windows)
    )
    return [
        flush.owner,
        flush.sequence,
        _pack(flush.floor),
        _pack(flush.included),
        "" if flush.watermark_ms is None else flush.watermark_ms,
        flush.late,
        flush.next_output,
        flush.now_ms,
        "" if flush.keep_ms is None else flush.keep_ms,
        changes,
    ]


def _numbered(records: Mapping[int, bytes]) -> list[str]:
    return [x for number, record in records.items() for x in (str(number), record.decode())]


def reply(request: Request, answer: Any) -> Reply:
    """The answer of the command, or the error it came to, as the core knows it."""
    if isinstance(answer, Exception):
        code, _, why = str(answer).partition(" ")
        if code == "HALTED":
            return Refused(why, halted=True)
        if code in ("FENCED", "OLDRUN"):
            return Refused(why, outdated=code == "OLDRUN")
        return Unknown(f"{type(answer).__name__}: {answer}")
    match request:
        case Load():
            return _loaded(request.slot, answer)
        case Enter():
            starts, skips, counts, known = answer
            return Entered(
                dict(zip(request.behind, starts, strict=True)),
                frozenset(each.decode() for each in skips),
                dict(zip(request.counts, map(int, counts), strict=True)),
                {
                    partition: int(offset)
                    for partition, offset in zip(request.partitions, known, strict=True)
                    if offset is not None and partition not in request.committed
                },
            )
        case Try():
            return Tried(bool(answer))
        case Skips():
            return Skipping(frozenset(each.decode() for each in answer))
        case Counts():
            return Counted({spout.decode(): int(count) for spout, count in answer.items()})
        case Ends():
            return Ended({int(number): int(end) for number, end in answer.items()} or None)
        case _:
            return Applied()


def _loaded(slot: int, answer: Any) -> Loaded:
    (sequence, floor, included, watermark, late, next_output), live, contents, outputs = answer
    windows = []
    for i in range(0, len(live), 2):
        name, id_ = window_name(live[i].decode())
        entry = _entry(live[i + 1])
        results, states = _pairs(contents[i]), _pairs(contents[i + 1])
        final = entry.state == "final"
        windows.append(LoadedWindow(name, id_, entry.start, entry.end, final, entry.revision, results, states))
    return Loaded(
        slot,
        int(sequence or 0),
        _floor(floor) if floor else {},
        _included(included) if included else {},
        int(watermark) if watermark else None,
        int(late or 0),
        windows,
        {int(outputs[i]): outputs[i + 1] for i in range(0, len(outputs), 2)},
        int(next_output or 0),
    )


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
