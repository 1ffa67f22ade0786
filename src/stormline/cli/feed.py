"""`sparse feed FILE TOPIC`: the rows of a file into a topic, each once, however often it is begun again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormline.cli import config
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from stormline.connectors.brokers import Brokers
    from stormline.connectors.feed_file import CsvFile
    from stormline.connectors.feed_lines import LinesFile

TELL_EVERY_S = 1.0
CSV, LINES = (".csv", ".csv.gz"), (".jsonl", ".jsonl.gz")


@click.command(short_help="Feed the rows of a file into a topic, each once.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("topic")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]")
@click.option("--key", metavar="FIELD", help="The column or field whose text is the key.  [default: no key]")
@click.option("--event-time", metavar="FIELD", help="That of the timestamp: ISO 8601.  [default: when it is fed]")
@click.option("--partitions", type=click.IntRange(1), help="Create the topic with so many, if it does not exist.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Rows a second, at most.")
@click.pass_obj
def feed(
    start: Path,
    file: Path,
    topic: str,
    env_name: str | None,
    key: str | None,
    event_time: str | None,
    partitions: int | None,
    rate: float | None,
) -> None:
    """Feed FILE (CSV or JSON lines: .csv, .jsonl, with .gz too) into TOPIC.

    The log itself says how far a feed has come, so after a stop of any kind the same command goes on with the next row.
    Hence a topic holds the rows of one file, and nothing else.
    """
    from stormline.connectors.feed import Feed
    from stormline.connectors.feed_settings import FeedSettings
    from stormline.connectors.kafka import partition_count

    project = config.find_project(start)
    env = project.environment(env_name)
    source = _source(file, key, event_time)
    with _kafka(project, env) as brokers:
        there = partition_count(brokers, topic)
        count = partitions or there or env.topics.get(topic)
        if count is None:
            raise SettingsError(
                f"topic {topic} does not exist on Kafka at {brokers}; give --partitions N to create it, or name it in "
                f'the environment "{env.name}" of {config.FILE}: "topics": {{"{topic}": {{"partitions": 1}}}}'
            )
        with _progress(topic) as tell:
            fed = Feed(brokers, FeedSettings(topic, source, count), rate=rate).run(tell)
    before = fed.rows - fed.sent
    click.echo(f"{topic}: {fed.sent:,} rows fed" + (f", {before:,} were there before" if before else ""))


def _source(file: Path, key: str | None, event_time: str | None) -> CsvFile | LinesFile:
    """Raises SettingsError for a file that cannot be read, or a column that it has not."""
    from stormline.connectors.feed_file import CsvFile
    from stormline.connectors.feed_lines import LinesFile
    from stormline.connectors.feed_settings import csv_faults

    if file.name.endswith(LINES):
        return LinesFile(file, key, event_time)
    if not file.name.endswith(CSV):
        raise SettingsError(f"{file}: the name must end with {', '.join(CSV + LINES)}, which says what is in it")
    source = CsvFile(file, key, event_time)
    faults = csv_faults(source, {"file": "FILE", "key": "--key", "event_time": "--event-time"})
    if faults:
        raise SettingsError(*faults)
    return source


@contextmanager
def _kafka(project: config.Project, env: config.Environment) -> Iterator[Brokers]:
    """Its brokers; the embedded one of a run that is under way, or started for the time being."""
    from stormline.cli.servers import found_here, probe_kafka

    brokers = found_here(env).kafka
    if brokers is None:
        raise SettingsError(f'the environment "{env.name}" in {config.FILE} says nothing about kafka')
    if not env.has_embedded_kafka:
        probe_kafka(brokers, env)
        yield brokers
        return
    from stormline.embedded.servers import EmbeddedServers

    with EmbeddedServers.attach_or_start(
        project.state,
        redis_server=env.redis_server,
        redis_only=False,
        on_wait=lambda line: click.echo(line, err=True),
    ) as servers:
        yield brokers._replace(bootstrap=servers.kafka)


@contextmanager
def _progress(topic: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, else a line each second."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(topic, total=None)
            yield lambda there, rows: bar.update(task, completed=there, total=rows)
        return
    next_s = time.monotonic() + TELL_EVERY_S

    def tell(there: int, rows: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + TELL_EVERY_S
            click.echo(f"{topic}: {there:,} of {rows:,} rows", err=True)

    yield tell
