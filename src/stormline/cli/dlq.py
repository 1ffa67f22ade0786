"""`sparse dlq`: the records that broke something: list them, send them again, pass one over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.cli import config
from stormline.cli.screen import clipped, printable
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from stormline.cli.topologies import Loaded
    from stormline.connectors.brokers import Brokers
    from stormline.connectors.dead_topics import Letter
    from stormline.connectors.kafka import Place

LISTED = 20


class Opened(NamedTuple):
    """An app with its servers."""

    loaded: Loaded
    brokers: Brokers
    redis_url: str

    def letters(self, *, everything: bool) -> list[list[Letter]]:
        """Of each record the letters, the newest last: while its batch is held up by another one, it may have several.
        Without those that were sent again, or `everything`."""
        from stormline.connectors.dead_topics import read
        from stormline.connectors.progress import replayed
        from stormline.connectors.redis import connect

        with connect(self.redis_url) as client:
            done = replayed(client, self.loaded.app)
        found: dict[tuple[str, ...], list[Letter]] = {}
        for letter in read(self.brokers, self.topics(), app=self.loaded.app):
            if everything or letter.origin not in done:
                alone = () if letter.origin else (letter.topic, str(letter.partition), str(letter.offset))
                found.setdefault((letter.origin, letter.component, *alone), []).append(letter)
        return list(found.values())

    def topics(self) -> list[str]:
        """The dead-letter topics that there may be: of what the topology reads, and of its components."""
        from stormline.cli.run import topics
        from stormline.connectors.kafka import topic_names
        from stormline.core.topics import DEAD, reads

        read = topics(self.loaded)
        components = {spec.name for spec in self.loaded.topology.specs}
        return [
            name
            for name in sorted(topic_names(self.brokers))
            if name.endswith(DEAD) and (reads(read, name.removesuffix(DEAD)) or name.removesuffix(DEAD) in components)
        ]


@click.group(short_help="Records that broke something: list them, send them again, pass one over.")
def dlq() -> None:
    """Dead letters: the records that could not be read, or on which user code raised. They are in `<topic>.dead`."""


def _of_app(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]"),
        click.option("-n", "--name", help="The topology, or the name it was run under."),
        click.pass_obj,
    ):
        command = option(command)
    return command


@contextmanager
def opened(start: Path, name: str | None, env_name: str | None) -> Iterator[Opened]:
    """The app, and its servers beside a run, or started for a moment."""
    from stormline.cli import topologies
    from stormline.cli.servers import beside
    from stormline.connectors.redis import connect, stored_graph

    project = config.find_project(start)
    env = project.environment(env_name)
    with beside(project, env, lambda line: click.echo(line, err=True)) as servers:
        if name is None or name in topologies.names(project):
            loaded = topologies.load(project, name)
        else:
            with connect(servers.redis_url) as client:
                loaded = topologies.load_stored(project, name, stored_graph(client, name))
        yield Opened(loaded, servers.kafka, servers.redis_url)


@dlq.command("list", short_help="Show the dead letters of a topology.")
@_of_app
@click.option("--all", "everything", is_flag=True, help="Also those that were sent again.")
@click.option("--limit", type=click.IntRange(0), default=LISTED, show_default=True, help="So many; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all of them.")
def list_(start: Path, name: str | None, env_name: str | None, everything: bool, limit: int, as_json: bool) -> None:
    """Show the dead letters that were not sent again: where each record came from, who could not take it, and why."""
    with opened(start, name, env_name) as app:
        found = app.letters(everything=everything)
        if as_json:
            for letters in found:
                sys.stdout.write(_json(letters) + "\n")
            return
        for letters in found[: limit or None]:
            click.echo("\n".join(_lines(letters)))
        if not found:
            click.echo(f"no dead letters of {app.loaded.app}")
        elif limit and len(found) > limit:
            click.echo(f"... and {len(found) - limit:,} more (--limit 0 shows all, --json prints all)")


@dlq.command(short_help="Send records again to the topics they came from, once the cause is mended.")
@click.argument("origins", nargs=-1, metavar="[TOPIC/PARTITION/OFFSET]...")
@_of_app
def replay(start: Path, name: str | None, env_name: str | None, origins: tuple[str, ...]) -> None:
    """Send the records of the dead letters again, all that were not, or those given by their place.

    Each is appended to its topic as it was: a new record. What had taken it before takes it again.
    """
    from stormline.connectors.dead_topics import parsed, send_again
    from stormline.connectors.progress import remember_replay
    from stormline.connectors.redis import connect

    for origin in origins:
        parsed(origin)
    with opened(start, name, env_name) as app, connect(app.redis_url) as client:
        newest = [letters[-1] for letters in app.letters(everything=bool(origins))]
        chosen = {each.origin: each for each in newest if each.origin and (not origins or each.origin in origins)}
        if unknown := [origin for origin in origins if origin not in chosen]:
            raise SettingsError(
                f"{', '.join(unknown)}: no dead letter of {app.loaded.app} came from there; `sparse dlq list --all` "
                "shows those there are"
            )
        sent = 0
        for letter, missing in send_again(app.brokers, chosen.values()):
            if missing is None:
                remember_replay(client, app.loaded.app, letter.origin)
                sent += 1
            else:
                click.echo(f"{letter.origin} is not sent again: {missing}", err=True)
        click.echo("nothing to send again" if not chosen else f"{sent:,} of {len(chosen):,} sent again")


@dlq.command(short_help="Let a record pass that kills the process or never gets through.")
@click.argument("origin", metavar="TOPIC/PARTITION/OFFSET")
@_of_app
def skip(start: Path, name: str | None, env_name: str | None, origin: str) -> None:
    """Make a record a dead letter without looking at it. `sparse explain` names the one that is in the way.

    What a component had counted of it before stays counted.
    """
    from stormline.connectors.dead_topics import parsed
    from stormline.connectors.kafka import places
    from stormline.connectors.progress import pass_over
    from stormline.connectors.redis import connect
    from stormline.core.topics import reads

    topic, partition, offset = parsed(origin)
    record = f"{topic}/{partition}/{offset}"
    with opened(start, name, env_name) as app:
        from stormline.cli.run import topics

        if not reads(topics(app.loaded), topic):
            raise SettingsError(f"{app.loaded.app} does not read the topic {topic}")
        found = places(app.brokers, app.loaded.app, [topic])
        if fault := _not_ahead(app.loaded.app, next((p for p in found if p.number == partition), None), offset):
            raise SettingsError(f"{record} cannot be passed over: {fault}")
        with connect(app.redis_url) as client:
            new = pass_over(client, app.loaded.app, record)
    again = "" if new else " (that was said before)"
    click.echo(f"{record} is passed over, by what runs within seconds of its next failure, else at its start{again}")


def _not_ahead(app: str, place: Place | None, offset: int) -> str | None:
    """Why the app has no such record before it."""
    if place is None:
        return "there is no such partition"
    if offset >= place.end:
        return f"the partition ends at {place.end}"
    if offset < (place.committed or 0):
        return f"{app} is past it, at {place.committed}"
    return None


def _lines(letters: list[Letter]) -> Iterator[str]:
    letter = letters[-1]
    at = datetime.fromtimestamp(letter.time_ms / 1000, UTC)
    more = f"  ({len(letters)} letters)" if len(letters) > 1 else ""
    yield f"{letter.origin or letter.topic}  {at:%Y-%m-%d %H:%M:%S}  {letter.component}{more}"
    yield from (f"  {printable(line)}" for line in letter.reason.splitlines() or [""])
    if letter.value is not None:
        yield f"  {clipped(letter.value.decode(errors='backslashreplace'))}"


def _json(letters: list[Letter]) -> str:
    import msgspec

    letter = letters[-1]
    text = None if letter.value is None else letter.value.decode(errors="backslashreplace")
    return msgspec.json.encode({**letter._asdict(), "value": text, "letters": len(letters)}).decode()
