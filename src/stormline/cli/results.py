"""`sparse results`: read back from Redis what a topology has computed, while it runs or after."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stormline.cli import config
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from stormline.cli.topologies import Loaded
    from stormline.connectors.results import Results, Row

TABLE_ROWS = 40


@click.command(short_help="Show what was computed: results KEY by window, as a table or as JSON.")
@click.argument("component", required=False)
@click.option("--key", metavar="KEY", help="Only the results of this key.")
@click.option("--late", is_flag=True, help="The records that came too late for a result, instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all of them.")
@click.option("--limit", type=click.IntRange(0), help=f"So many rows; 0: all. [default: {TABLE_ROWS}, with --json all]")
@click.option("-n", "--name", help="The topology, or the name it was run under.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]")
@click.pass_obj
def results(
    start: Path,
    component: str | None,
    key: str | None,
    late: bool,
    as_json: bool,
    limit: int | None,
    name: str | None,
    env_name: str | None,
) -> None:
    """Read results from Redis: of COMPONENT, or the list of components.

    Works while `sparse run` is under way, and after it.
    """
    from stormline.cli import topologies
    from stormline.cli.rows import json_line, quotients, table
    from stormline.cli.servers import stored
    from stormline.connectors.redis import stored_graph
    from stormline.connectors.results import Results

    if late and component is None:
        raise SettingsError("--late: say of which COMPONENT; `sparse results` lists them")
    project = config.find_project(start)
    env = project.environment(env_name)
    with ExitStack() as stack:
        opened = stored(project, env, lambda line: click.echo(line, err=True))
        if name is None or name in topologies.names(project):
            loaded = topologies.load(project, name)
            keyed = _keyed(loaded, component)
            client = stack.enter_context(opened)
        else:  # an app under another name, or a typo: the store knows
            client = stack.enter_context(opened)
            loaded = topologies.load_stored(project, name, stored_graph(client, name))
            keyed = _keyed(loaded, component)
        found = Results(client, loaded.app)
        if component is None:
            for each in keyed:
                click.echo(each)
            return
        value = None if key is None else _key(keyed[component], key, found)
        if late:
            lines = _late(found, loaded.app, component, value, as_json, limit)
            click.echo("\n".join(lines), nl=bool(lines))
            return
        rows = found.rows(component, key=value)
        if as_json:
            for row in islice(rows, limit or None):
                sys.stdout.write(json_line(row).decode() + "\n")
            return
        most = TABLE_ROWS if limit is None else limit
        lines = table(islice(rows, most or None), rounded=quotients(keyed[component].component_cls))
        click.echo("\n".join(lines or [_nothing(loaded.app, component, key)]))
        if (left := sum(1 for _ in rows)) > 0:
            click.echo(f"... and {left:,} more (--limit 0 shows all, --json prints all)")


def _late(found: Results, app: str, component: str, key: Any, as_json: bool, limit: int | None) -> list[str]:
    """The newest of those that are kept, and how many there were ever."""
    from stormline.cli.rows import late_json_line, late_table
    from stormline.core.slot import key_text

    count, records = found.late(component)
    if key is not None:
        records = [each for each in records if key_text(each.key) == key_text(key)]
    if as_json:
        return [late_json_line(each).decode() for each in records[-limit if limit else 0 :]]
    most = TABLE_ROWS if limit is None else limit
    ever = f"{count:,} late records of {component} for {app}"
    return [
        *late_table(records[-most:]),
        f"{ever}; {len(records):,} of them are kept{'' if key is None else ', of this key'}",
    ]


def _keyed(loaded: Loaded, wanted: str | None) -> dict[str, Any]:
    """The components with results, by name. Raises SettingsError if the one that is wanted is none of them."""
    from stormline.cli import topologies

    keyed = {spec.name: spec for spec in loaded.topology.specs if topologies.is_keyed(spec)}
    if wanted is not None and wanted not in keyed:
        raise SettingsError(_no_such(wanted, keyed, loaded))
    return keyed


def _no_such(component: str, keyed: dict[str, Any], loaded: Any) -> str:
    from stormline.components.chaining import sources

    if component in sources(loaded.topology):
        why = f"{component} keeps no results; it passes records on"
    else:
        why = f'no component "{component}" in {loaded.path.name}{config.did_you_mean(component, keyed)}'
    return f"{why}; with results are: {', '.join(keyed) or 'none'}"


def _nothing(app: str, component: str, key: str | None) -> str:
    whose = f"key {key} of {component}" if key is not None else component
    return f"no results of {whose} for {app} yet; `sparse run` computes them"


def _key(spec: Any, text: str, found: Results) -> Any:
    """The key's value from the command line. Raises SettingsError, with the type and an example, if it is none."""
    import msgspec

    fields = spec.component_cls.key
    if fields is None:
        raise SettingsError(f"{spec.name} has no key: it has one result a window, over all records; leave --key out")
    try:
        if isinstance(fields, str):
            kind = _type_of(spec.schema, fields)
            if kind is str:
                return text
            return msgspec.convert(text, kind, strict=False)
        value = msgspec.json.decode(text)
        if isinstance(fields, tuple):
            kinds = [_type_of(spec.schema, name) for name in fields]
            return tuple(msgspec.convert(part, kind, strict=False) for part, kind in zip(value, kinds, strict=True))
        return value
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise SettingsError(
            f"--key {text} is no key of {spec.name}: {_wanted(spec, fields)}{_example(found.rows(spec.name))}"
        ) from error


def _type_of(schema: type, field: str) -> Any:
    import msgspec

    return next(each.type for each in msgspec.structs.fields(schema) if each.name == field)


def _wanted(spec: Any, fields: Any) -> str:
    def told(name: str) -> str:
        kind = _type_of(spec.schema, name)
        return f"{name} ({getattr(kind, '__name__', kind)})"

    if isinstance(fields, str):
        return f"it is keyed by {told(fields)}"
    if isinstance(fields, tuple):
        return f"it is keyed by {', '.join(map(told, fields))}, together a JSON array"
    return "it is keyed by a function; give the key as JSON (a text with its quotes)"


def _example(rows: Iterator[Row]) -> str:
    import msgspec

    row = next(rows, None)
    if row is None:
        return ""
    value = row.key if isinstance(row.key, str) else msgspec.json.encode(row.key).decode()
    return f"; for example --key {value}"
