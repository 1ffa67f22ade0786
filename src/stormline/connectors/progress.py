"""How far the spouts of an app are, and what holds them up, as Redis knows it; and the records to be passed over."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis

from stormline.connectors.redis_commands import app_key
from stormline.core.report import PartitionReport, decode


class Progress(NamedTuple):
    """By partition (`<topic>:<topic id>/<number>`)."""

    commits: dict[str, int]
    """What was marked before it was committed to Kafka."""
    standings: dict[str, PartitionReport]
    starts: dict[str, int]
    """How many times in a row it was begun without getting on."""
    blamed: dict[tuple[str, int], int]
    """Partition and offset -> how many times the process died while this record was out alone."""
    skips: list[str]
    """Records to pass over, as `topic/partition/offset`."""
    out: tuple[str, int] | None = None
    """Partition and first offset of what is out carefully: all else that goes carefully waits for it."""


def progress(client: redis.Redis, app: str) -> Progress:
    """All of it at one time."""
    pipeline = client.pipeline(transaction=True)
    for name in ("commits", "standings", "starts", "blamed", "skips", "trying"):
        pipeline.hgetall(app_key(app, name))
    commits, standings, starts, blamed, skips, trying = (
        {field.decode(): value for field, value in found.items()} for found in pipeline.execute()
    )
    return Progress(
        {name: int(offset) for name, offset in commits.items()},
        {name: decode(told) for name, told in standings.items()},
        {name: int(count) for name, count in starts.items()},
        {(name.rpartition("/")[0], int(name.rpartition("/")[2])): int(count) for name, count in blamed.items()},
        sorted(skips),
        (trying["partition"].decode(), int(trying["offset"])) if trying else None,
    )


def pass_over(client: redis.Redis, app: str, record: str) -> bool:
    """Let this record (`topic/partition/offset`) be a dead letter without being looked at; False: that was said
    before. A running spout hears of it within about a second of the record's next failure, others when they start, as
    at a first start: what made them careful is out of the way."""
    pipeline = client.pipeline()
    pipeline.hset(app_key(app, "skips"), record, "1")
    pipeline.delete(app_key(app, "starts"))
    added, _ = pipeline.execute()
    return bool(added)


def replayed(client: redis.Redis, app: str) -> frozenset[str]:
    """The records (`topic/partition/offset`) that were sent again."""
    found: Any = client.smembers(app_key(app, "replayed"))
    return frozenset(record.decode() for record in found)


def remember_replay(client: redis.Redis, app: str, record: str) -> None:
    """This one was."""
    client.sadd(app_key(app, "replayed"), record)
