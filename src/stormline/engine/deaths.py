"""What an exception out of a component means: a new incarnation of its task, or the end of the run."""

from __future__ import annotations

import logging
import traceback

from stormline.core.errors import Died, Fenced, StormlineError, UserCodeError
from stormline.engine.hosts import TaskHost

log = logging.getLogger("stormline.engine")

DEATHS_AT_START = 3
"""So many incarnations of a task in a row that died before they emitted, acked or failed anything end the run."""


class Deaths:
    """Counts them, for each task of a worker."""

    def __init__(self) -> None:
        self._in_a_row: dict[int, int] = {}
        """Task -> its incarnations in a row that died before they had done anything."""

    def fatal(self, host: TaskHost, error: Exception) -> StormlineError | None:
        """The error that ends the run; None if the task is to be made anew."""
        match error:
            case Fenced():
                log.warning("%s was fenced and is made anew: %s", host, error)
                return None
            case Died():
                return self._died(host, error)
            case StormlineError():
                error.add_note(f"in {host}")
                return error
            case _:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                return UserCodeError(
                    f"{host}: {type(error).__name__}: {error} (raised at {frame.filename}:{frame.lineno})"
                )

    def _died(self, host: TaskHost, error: Died) -> StormlineError | None:
        task = host.context.task
        deaths = self._in_a_row[task] = 1 if host.worked else self._in_a_row.get(task, 0) + 1
        if deaths >= DEATHS_AT_START:
            return UserCodeError(f"{host} died {deaths} times before it had done anything; the last time:\n{error}")
        log.error("%s died and is made anew: %s", host, error)
        return None
