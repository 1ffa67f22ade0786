"""How the interpreter of a process that hosts components is set."""

from __future__ import annotations

import gc
import sys
from typing import Final

COLLECT: Final = (20_000, 20, 100)
"""Thresholds of the garbage collector: batches and windows live long and hold no cycles, and the default looks through
them all the time (4 % of a worker's CPU)."""
SWITCH_S: Final = 0.02
"""How long a thread may keep the interpreter while another one waits; 0.005 by default. The threads of the connectors
have whole fetches and flushes to do: handing over less often is worth 7 % of a worker's CPU."""


def tune() -> None:
    """For a process that does nothing else."""
    gc.set_threshold(*COLLECT)
    sys.setswitchinterval(SWITCH_S)
