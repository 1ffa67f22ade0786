"""Every error of Stormline, split by whose fault it is.

The message of an error names the component, the line of the user's code or configuration, what came, and what to do.
"""

from __future__ import annotations


class StormlineError(Exception):
    """Root of all errors raised by Stormline; the command line prints its message and exits with `exit_code`."""

    exit_code = 1


class SettingsError(StormlineError):
    """The user's code or configuration is wrong; found before anything starts. `faults` lists all that was found."""

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class UserCodeError(StormlineError):
    """A function of the user's raised where no single record can be set aside."""


class ServerError(StormlineError):
    """The outside world (Kafka, Redis, the disk) failed. `retriable`: trying again later may help."""

    def __init__(self, message: str, *, retriable: bool = False) -> None:
        self.retriable = retriable
        super().__init__(message)


class StateError(StormlineError):
    """What Redis holds contradicts what Kafka or this topology says; going on would lose or repeat records."""


class Fenced(StormlineError):
    """Another task owns one of this task's slots now; this one must end (protocol K4)."""


class Died(StormlineError):
    """The process of one task is gone, by the user's code or from outside; on a cluster Storm would start it again."""


def raised(error: Exception) -> str:
    """The innermost function in which it was raised, with file and line, and what it says."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_qualname} ({code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{place} raised {type(error).__name__}: {error}"
