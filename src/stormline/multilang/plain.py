"""Values of stock tuples as a JSON pipe leaves them, and which values no JSON pipe takes.

The rule is pystorm's serializer itself (simplejson, named tuples as lists, NaN and infinity refused); values that it
would not change are not sent through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import simplejson

from stormline.multilang.traces import shortened

_json: Any = simplejson
SAME = frozenset({str, int, bool, type(None)})
"""Types whose values come out of JSON as they went in."""


class NotData(ValueError):
    """A value that cannot be sent; the message says which and why."""


def plain(values: Sequence[Any], fields: Sequence[str] = ()) -> list[Any]:
    """A copy of a tuple's values, as its receiver sees them: tuples become lists, keys of dicts texts, and so on.

    Raises:
        NotData: a value has no form in JSON. `fields` name the values in its message.
    """
    for value in values:
        kind = value.__class__
        if kind in SAME or (kind is float and value - value == 0):
            continue
        try:
            return list(_json.loads(_json.dumps(list(values), namedtuple_as_object=False)))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise NotData(_which(values, fields, error)) from None
    return list(values)


def _which(values: Sequence[Any], fields: Sequence[str], whole: Exception) -> str:
    for at, value in enumerate(values):
        try:
            _json.dumps(value, namedtuple_as_object=False)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            name = f"field {fields[at]!r}" if at < len(fields) else f"value {at + 1}"
            return f"{name} is {shortened(repr(value), 80)}, of type {type(value).__name__}: {error}"
    return str(whole)
