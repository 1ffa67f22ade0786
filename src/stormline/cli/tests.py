"""`sparse test`: formatting, lint, types and tests, in that order; all of them run, whichever fails."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zlib
from pathlib import Path

import click

from stormline.cli import config
from stormline.core.errors import SettingsError, StormlineError

NEEDED = ("ruff", "mypy", "pytest", "hypothesis", "pytest_timeout", "xdist")
BESIDE_EACH_OTHER = ("-n", "2")
"""All tests: those of the cluster, which mostly wait for its programs, beside the others (tests/conftest.py)."""


@click.command(
    short_help="Check format, lint and types, and run the tests.", context_settings={"ignore_unknown_options": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def test(start: Path, arguments: tuple[str, ...]) -> None:
    """Check format (ruff), lint (ruff) and types (mypy), then run pytest with ARGUMENTS."""
    root = config.find_project(start).root
    install_tools(root)
    steps = [
        ["ruff", "format", "--check", "--quiet"],
        ["ruff", "check", "--quiet"],
        ["mypy"],
        ["pytest", *(arguments or BESIDE_EACH_OTHER)],
    ]
    failed = []
    for step in steps:
        click.echo(f"$ {' '.join(step)}", err=True)
        if subprocess.run([sys.executable, "-m", *step], cwd=root, check=False).returncode != 0:
            failed.append(" ".join(step[:2]) if step[0] == "ruff" else step[0])
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def install_tools(root: Path) -> None:
    """The packages of requirements/test.txt, in the project's own .venv; any other environment is left alone."""
    from stormline.cli.install import VENV, InstallError, install

    if Path(sys.prefix).resolve() == VENV.resolve() and root.resolve() == VENV.parent.resolve():
        pins = (root / "requirements" / "test.txt").read_bytes()
        try:
            install("test", f"{zlib.crc32(pins)} {len(pins)}")
        except InstallError as error:
            raise StormlineError(str(error)) from error
        importlib.invalidate_caches()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"{', '.join(missing)} not installed in {sys.prefix}: "
            "use ./sparse test, or pip install -r requirements/test.txt"
        )
