"""`sparse explain`: how far an app is, and what holds it up: a halt, a record that never gets through, a window that
stays open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.components.start import lost
from stormline.core.careful import CAREFUL_FROM_START
from stormline.core.topics import named

if TYPE_CHECKING:
    from stormline.connectors.kafka import Place
    from stormline.connectors.progress import Progress
    from stormline.core.report import PartitionReport
    from stormline.core.topics import Topics

ALONE_FROM_FAILURE = 3
"""A single record that has failed so often is likely to be the cause."""


class Explained(NamedTuple):
    """What is known of one partition. Offsets; times in ms since the epoch."""

    partition: str
    """`topic/partition`"""
    committed: int | None
    end: int
    behind: int
    event_time_ms: int | None
    """All before it is counted."""
    held: str | None
    """What is in the way, in words."""


@click.command(short_help="Say how far a topology is, and what holds it up.")
@click.option("-n", "--name", help="The topology, or the name it was run under.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def explain(start: Path, name: str | None, env_name: str | None, as_json: bool) -> None:
    """Say of each partition how far it is counted, and what is in the way: a halt, a record that never gets through, a
    partition that holds the windows open.

    Works while the topology runs, here or on a cluster, and after it.
    """
    from stormline.cli import tables
    from stormline.cli.dlq import opened
    from stormline.cli.run import missing_sinks, topics
    from stormline.connectors.kafka import absent, places
    from stormline.connectors.progress import progress
    from stormline.connectors.redis import connect, halted, stored_graph

    with opened(start, name, env_name) as app, connect(app.redis_url) as client:
        known = stored_graph(client, app.loaded.app) is not None
        why = halted(client, app.loaded.app) if known else None
        made = progress(client, app.loaded.app)
        read = topics(app.loaded)
        placed = places(app.brokers, app.loaded.app, read)
        unwritable = missing_sinks(app.loaded, app.brokers)
        found = explained(placed, made, unwritable)
    if as_json:
        tables.tell_json({"app": app.loaded.app, "halted": why, "partitions": found, "passed over": made.skips})
        return
    if not known:
        click.echo(f"{app.loaded.app} has not run yet")
        return
    if why is not None:
        click.echo(f"{app.loaded.app} is halted: {why}\n`sparse resume` clears it, once the cause is understood.\n")
    rows = [
        (each.partition, _number(each.committed), f"{each.end:,}", f"{each.behind:,}", _time(each.event_time_ms))
        for each in found
    ]
    tables.show("", ("partition", "committed", "log end", "behind", "counted up to"), rows)
    for line in _told(app.loaded.app, found, made):
        click.echo(line)
    if found and (gone := missing(read, placed)):
        click.echo(f"\nNot on Kafka: {', '.join(gone)}")
    for sink, topic in unwritable.items():
        click.echo(f"\n{sink} cannot write to the topic {topic}: it {absent(app.brokers, topic)}")


def missing(read: Iterable[Topics], placed: Iterable[Place]) -> list[str]:
    """The topics that are read by name, and are not there."""
    return sorted({name for each in read for name in named(each)} - {place.topic for place in placed})


def explained(placed: Sequence[Place], made: Progress, missing_topics: Mapping[str, str]) -> list[Explained]:
    """What Kafka and Redis know of each partition, put together. `missing_topics`: of sinks, by component."""
    stuck = ", ".join(f"{sink} cannot write to {topic}, which does not exist" for sink, topic in missing_topics.items())
    names = [_name(place, made) for place in placed]
    placed = [
        # Kafka may have forgotten it; a start goes on from there.
        place._replace(committed=made.commits.get(name)) if place.committed is None else place
        for place, name in zip(placed, names, strict=True)
    ]
    guilty = [_guilty(place, name, made) for place, name in zip(placed, names, strict=True)]
    return [
        _explained(place, name, made, own, stuck, elsewhere=any(guilty))
        for place, name, own in zip(placed, names, guilty, strict=True)
    ]


def _explained(
    place: Place, name: str, made: Progress, guilty: dict[int, int], stuck: str, *, elsewhere: bool
) -> Explained:
    told = made.standings.get(name)
    at = None if told is None else told.watermark_ms
    where = f"{place.topic}/{place.number}"
    held = (
        lost(where, place.committed, place.first, place.end)
        or _dead_of(where, guilty)
        or _failed(where, place, told, stuck)
    )
    if held is None and not elsewhere:  # what is known elsewhere is what this one's process dies of, too
        held = _begun(place, made.starts.get(name, 0), _out_of_another(name, made))
    return Explained(where, place.committed, place.end, place.behind, at, held)


def _name(place: Place, made: Progress) -> str:
    """The identity of the partition, of which Kafka's answers know topic and number: that of the newest report."""
    same = [
        name
        for name in {*made.standings, *made.starts, *made.commits}
        if name.rpartition("/")[0].partition(":")[0] == place.topic and name.endswith(f"/{place.number}")
    ]
    newest = max(same, key=lambda name: made.standings[name].at_ms if name in made.standings else 0, default=None)
    return newest or f"{place.topic}/{place.number}"


def _guilty(place: Place, name: str, made: Progress) -> dict[int, int]:
    """Offset -> deaths of what was out alone, of the records that are not passed yet."""
    first = place.committed or 0
    return {offset: deaths for (each, offset), deaths in made.blamed.items() if each == name and offset >= first}


def _dead_of(where: str, guilty: dict[int, int]) -> str | None:
    if not guilty:
        return None
    offset, deaths = min(guilty.items())
    return (
        f"{where}/{offset} was emitted alone {_times(deaths)}, and the process died before it was done.\n"
        f"`sparse dlq skip {where}/{offset}` makes it a dead letter"
    )


def _failed(where: str, place: Place, told: PartitionReport | None, stuck: str) -> str | None:
    if told is None or told.held_by is None or told.frontier < (place.committed or 0):
        return None
    first, last = told.held_by
    if told.records > 1:
        what = f"{told.records} records, {where}/{first} to {last}, failed {_times(told.failures)} together"
        why = "Whatever takes them is slow, dies, or waits for something, which its log says"
        return f"{what}: their tuples timed out{f', as {stuck}' if stuck else f'. {why}'}"
    what = f"{where}/{first} failed {_times(told.failures)}"
    if stuck:
        return f"{what}: its tuples timed out, as {stuck}"
    if told.failures >= ALONE_FROM_FAILURE:
        return (
            f"{what} alone: whatever takes it dies, or takes longer than the message time-out.\n"
            f"`sparse dlq skip {where}/{first}` makes it a dead letter"
        )
    return what


def _begun(place: Place, starts: int, waits_for: str | None) -> str | None:
    if starts < CAREFUL_FROM_START:
        return None
    begun = f"begun {starts} times at offset {place.committed or 0} without getting on"
    if waits_for is None:
        now = "It is being narrowed down, in smaller batches at each start"
    else:
        now = f"They go one batch at a time in the app, and wait for {waits_for}, which is out"
    return f"{begun}: one of the next records may kill the process. {now}"


def _out_of_another(name: str, made: Progress) -> str | None:
    """The record that this partition's have to wait for, as `topic/partition/offset`."""
    if made.out is None or made.out[0] == name:
        return None
    partition, offset = made.out
    topic, _, number = partition.rpartition("/")
    return f"{topic.partition(':')[0]}/{number}/{offset}"


def _told(app: str, found: Sequence[Explained], made: Progress) -> Iterator[str]:
    if not found:
        yield f"None of the topics of {app} exists"
    for each in found:
        if each.held is not None:
            first, *rest = each.held.splitlines()
            yield f"\n{each.partition} is held up: {first}"
            yield from rest
    reached = [each for each in found if each.event_time_ms is not None and (each.behind or each.held)]
    if reached and len(found) > 1:
        last = min(reached, key=lambda each: each.event_time_ms or 0)
        yield f"\nWindows that end after {_time(last.event_time_ms)} stay open: {last.partition} is counted up to there"
    if made.skips:
        yield f"\nPassed over: {', '.join(made.skips)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(at_ms: Any) -> str:
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
