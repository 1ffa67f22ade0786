"""The group of verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stormline.cli import (
    bench,
    cluster,
    controls,
    dlq,
    explain,
    feed,
    listing,
    log_level,
    reslot,
    results,
    resume,
    run,
    stats,
    submit,
    tail,
    tests,
)
from stormline.cli import update_virtualenv as virtualenv
from stormline.core.errors import StormlineError

INTERRUPTED = 130
A_FAULT_OF_OURS = 70
"""EX_SOFTWARE of sysexits.h."""


class Told(click.ClickException):
    """An error that ends the command: `error: ...` on stderr and the exit code, no traceback."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        first, *rest = self.format_message().splitlines() or [""]
        click.echo("\n".join([f"error: {first}", *(f"       {line}" for line in rest)]), err=True)


class Verbs(click.Group):
    """Tells every error in words; `--debug` or STORMLINE_DEBUG=1 lets it through with its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if ctx.params.get("debug") or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            raise _told(error) from error


def _told(error: Exception) -> Told:
    if isinstance(error, StormlineError):
        return Told("\n".join([str(error), *getattr(error, "__notes__", [])]), error.exit_code)
    if isinstance(error, OSError):
        return Told(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    return Told(
        f"{type(error).__name__}: {error}\n"
        "This is a fault of Stormline itself; `sparse --debug ...` shows where, please report it with that.",
        A_FAULT_OF_OURS,
    )


# streamparse spells verbs and options with underscores: slot_usage, --override_name. Both are taken.
@click.group(
    cls=Verbs,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "token_normalize_func": lambda word: word.replace("_", "-"),
    },
)
@click.option("--debug", is_flag=True, envvar="STORMLINE_DEBUG", help="Show tracebacks.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="The project's directory.")
@click.pass_context
def sparse(ctx: click.Context, debug: bool, project: Path | None) -> None:
    """Apache Storm topologies in Python: Kafka in, windows by key, results in Redis.

    `sparse run` is the place to start: it needs no server and no set-up.
    """
    ctx.obj = (project or Path(os.getcwd())).resolve()


_VERBS: list[Callable[..., Any]] = [
    run.run,
    feed.feed,
    results.results,
    resume.resume,
    reslot.reslot,
    explain.explain,
    dlq.dlq,
]
_VERBS += [submit.submit, submit.jar, cluster.up, cluster.down, cluster.status, tests.test, bench.bench]
_VERBS += [listing.list_, controls.kill, controls.activate, controls.deactivate, controls.rebalance, stats.stats]
_VERBS += [tail.tail, tail.logs, tail.remove_logs, log_level.log_level, listing.worker_uptime, listing.slot_usage]
_VERBS += [virtualenv.update_virtualenv]
for _verb in _VERBS:
    assert isinstance(_verb, click.Command)
    sparse.add_command(_verb)
