"""Tables and JSON of what a cluster says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

WIDEST = 1000

if TYPE_CHECKING:
    from rich.table import Table


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table; the first `left` columns to the left, the others, figures, to the right. Nothing is cut."""
    print_wide(made(title, headings, rows, left=left))


def print_wide(table: Table) -> None:
    from rich.console import Console

    # As wide as it needs: a line that the terminal breaks can still be read and copied, one that is cut cannot.
    Console(highlight=False, width=WIDEST).print(table)


def made(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < left else "right", no_wrap=True, header_style="dim")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def tell_json(content: Any) -> None:
    click.echo(json.dumps(plain(content), indent=2))


def plain(value: Any) -> Any:
    """Named tuples as objects, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def duration(seconds: float) -> str:
    """2d 3h, 5m 12s, 8s: the two largest units."""
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if rest >= size or (unit == "s" and not parts):
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return " ".join(parts[:2])
