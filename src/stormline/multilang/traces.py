"""Which part of a stack is the user's: messages and tracebacks show that part."""

from __future__ import annotations

import sys
import traceback
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any


def _folder(module: str) -> str:
    """Where a module lies; found without importing it, as streamparse takes a while."""
    spec = find_spec(module)
    assert spec is not None
    return str(Path(str(spec.origin)).parent)


_FRAMEWORK = (*map(_folder, ("pystorm", "streamparse", "importlib")), str(Path(__file__).parents[1]), "<frozen ")


def of_framework(filename: str) -> bool:
    """Whether a file is ours, pystorm's, streamparse's, or the import system's."""
    return filename.startswith(_FRAMEWORK)


def user_line() -> str:
    """`file:line (function)` of the innermost running code that is neither ours nor pystorm's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and of_framework(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"


def trim(error: BaseException) -> None:
    """Leave the frames before the user's own out of the traceback, if there are any of the user's."""
    trace = error.__traceback__
    while trace is not None and of_framework(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is not None:
        error.__traceback__ = trace


def told(error: BaseException, tup: Any = None) -> str:
    """What pystorm tells Storm of an exception, with the user's frames alone, and the tuple (if any) shortened."""
    trim(error)
    during = f" while processing Tuple {shortened(repr(tup))}" if tup else ""
    return f"Python {type(error).__name__} raised{during}\n{''.join(traceback.format_exception(error))}"


def innermost(dump: str) -> str:
    """Of the last stack in what `faulthandler` wrote: the frames above those of the framework; if there are none, the
    first."""
    frames = [
        line for line in dump.rpartition("(most recent call first):")[2].splitlines() if line.startswith('  File "')
    ]
    of_user = list(takewhile(lambda line: not of_framework(line.split('"')[1]), frames))
    return "\n".join(of_user or frames[:1])


def shortened(text: str, most: int = 300) -> str:
    """At most so many characters."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
