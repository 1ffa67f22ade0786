"""`sparse bench`: lists and runs the programs in benchmarks/."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import click

from stormline.cli import config
from stormline.cli.tests import install_tools
from stormline.core.errors import SettingsError


@click.command(short_help="List the benchmarks, or run one.", context_settings={"ignore_unknown_options": True})
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def bench(start: Path, name: str | None, arguments: tuple[str, ...]) -> None:
    """Run benchmarks/NAME.py with ARGUMENTS; without NAME, list them."""
    project = config.find_project(start)
    programs = {path.stem: path for path in sorted((project.root / "benchmarks").glob("*.py")) if path.stem[0] != "_"}
    if name is None:
        for known, path in programs.items():
            first_line = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
            click.echo(f"{known:<20} {first_line}")
        return
    if name not in programs:
        near = config.did_you_mean(name, programs)
        raise SettingsError(f'no benchmark "{name}"{near}; there are: {", ".join(programs) or "none"}')
    install_tools(project.root)
    ended = subprocess.run([sys.executable, str(programs[name]), *arguments], cwd=project.root, check=False)
    sys.exit(ended.returncode)
