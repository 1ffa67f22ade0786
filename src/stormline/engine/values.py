"""What a stock component emits, as the receiver gets it on Storm: the values after JSON.

pystorm encodes with simplejson; so do we, but only what is not plain already.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import simplejson

from stormline.core.errors import UserCodeError

PLAIN = frozenset({str, int, bool, type(None)})
OTHERS = tuple(f"{os.sep}{package}{os.sep}" for package in ("pystorm", "streamparse"))
FRAMEWORK = (str(Path(__file__).resolve().parents[1]) + os.sep, *OTHERS)


class NotSerialisable(UserCodeError):
    """An emit whose values JSON cannot hold."""


def after_json(values: Sequence[Any]) -> list[Any]:
    """Tuples become lists, keys of dicts texts, Decimals numbers; plain values stay the objects they are.

    Raises:
        NotSerialisable: with the position, what came, and the line of the user's code.
    """
    for value in values:
        kind = type(value)
        if kind not in PLAIN and not (kind is float and math.isfinite(value)):
            return [_through_json(value, at) for at, value in enumerate(values)]
    return list(values)


def _through_json(value: Any, at: int) -> Any:
    if type(value) in PLAIN:
        return value
    try:
        return simplejson.loads(simplejson.dumps(value, namedtuple_as_object=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise NotSerialisable(
            f"value {at} of an emitted tuple cannot go over Storm, which carries JSON: {error}; it is "
            f"{short(value)} of type {type(value).__name__}{_place()}. Emit texts, numbers, true, false, None, and "
            "lists and dicts of these"
        ) from error


def short(value: Any, most: int = 200) -> str:
    """A value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def users_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame that is neither ours nor pystorm's."""
    while frame is not None and any(part in frame.f_code.co_filename for part in FRAMEWORK):
        frame = frame.f_back
    return frame


def _place() -> str:
    frame = users_frame(sys._getframe(1))
    return "" if frame is None else f", emitted at {frame.f_code.co_filename}:{frame.f_lineno}"
