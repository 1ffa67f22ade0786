"""The verbs of `sparse`. Importing this package imports nothing else of it: topologies name `Top` and `Rows`."""

from __future__ import annotations

import time

STARTED_S = time.monotonic()
"""When the command line began, for the figures at the end of a run."""


def main() -> None:
    """The console scripts `sparse` and `stormline`."""
    from stormline.cli.commands import sparse

    sparse(prog_name="sparse")
