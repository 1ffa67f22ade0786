"""What an aggregate reads of a record: a value, where a condition holds; and of which type it must be."""

from __future__ import annotations

import datetime
import hashlib
import inspect
import math
import types
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

Value = str | Callable[[Any], Any] | None
"""A field, an expression (a function of the record), or None for the whole record."""

Where = str | Callable[[Any], Any] | None
"""A field that is true or false, or a function of the record; None: every record."""

Number = int | float | Decimal
NUMBERS = frozenset({int, float, Decimal})
ORDERED_TYPES = NUMBERS | {
    *(bool, str, bytes),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
}


class Kind(NamedTuple):
    """What an aggregate can work on."""

    words: str
    types: frozenset[Any] | None
    """None: any type."""
    assumed: Any
    """The type of an expression that has no return annotation; None: it must have one."""


ANYTHING = Kind("values", None, None)
UNTYPED = Kind("values", None, Any)
NUMERIC = Kind("numbers", NUMBERS, Number)
ORDERED = Kind("numbers, texts or times", frozenset(ORDERED_TYPES), Number)
TEXTS = Kind("texts", frozenset({str}), str)
TRUTHS = Kind("true and false", frozenset({bool}), bool)


class Reading(NamedTuple):
    """How to come from a record to the value that a fold adds. None is no value: a fold passes over it, as SQL does."""

    value: Value
    where: Where
    hint: Any
    """The type of the value; a union where it may be one of several."""
    optional: bool
    """It may be None."""


def reading(value: Value, where: Where, kind: Kind, schema: type[msgspec.Struct]) -> Reading:
    """The reading of a value that has no `reading_faults`."""
    hint = schema if value is None else _hint(value, get_type_hints(schema))
    found = kind.assumed if hint is None else hint
    optional = where is not None or callable(value) or type(None) in get_args(found)
    return Reading(value, where, found, optional)


def reading_faults(value: Value, where: Where, kind: Kind, schema: type[msgspec.Struct]) -> list[str]:
    """What of the two does not fit the schema or the kind, each as the rest of "the aggregate total …"."""
    hints = get_type_hints(schema)
    has = f"{schema.__name__} has {', '.join(hints)}"
    faults = []
    if isinstance(value, str) and value not in hints:
        faults.append(f"reads the field {value!r}; {has}")
    elif value is not None:
        faults += _type_faults(value, _hint(value, hints), kind)
    if isinstance(where, str):
        if where not in hints:
            faults.append(f"has where = {where!r}; {has}")
        elif members(hints[where]) != {bool}:
            faults.append(f"has where = {where!r}, which is {said_type(hints[where])}; give a field of type bool")
    return faults


def shape_faults(value: Value, where: Where) -> list[str]:
    """What can be told of the two without a schema."""
    faults = []
    if not (value is None or callable(value) or (isinstance(value, str) and value)):
        faults.append(f"reads {value!r}; give the name of a field or a function of the record")
    if not (where is None or callable(where) or (isinstance(where, str) and where)):
        faults.append(f"has where = {where!r}; give the name of a bool field or a function of the record")
    return faults


def _type_faults(value: Value, hint: Any, kind: Kind) -> list[str]:
    if hint is None:
        if kind.assumed is None:
            return [
                f"reads {said(value)}, whose type is not known; write it as a function with a return annotation, "
                "such as `def name(record) -> str`"
            ]
        return []
    what = f"the field {value!r}" if isinstance(value, str) else said(value)
    if kind.types is not None and not (members(hint) and members(hint) <= kind.types):
        return [f"works on {kind.words}, and {what} is {said_type(hint)}"]
    return []


def _hint(value: Value, hints: Mapping[str, Any]) -> Any:
    """The type of a field or of what a function says that it returns; None: it does not say."""
    if isinstance(value, str):
        return hints[value]
    try:
        hint = get_type_hints(value).get("return")
    except (NameError, TypeError):  # no function, or an annotation that cannot be resolved here
        return None
    return None if hint is Any else hint


def members(hint: Any) -> set[Any]:
    """The types a value of this type may have, None left out: {int, float} for `int | float | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return {member for part in get_args(hint) for member in members(part)}
    if get_origin(hint) is Literal:
        return {type(choice) for choice in get_args(hint)} - {type(None)}
    if hasattr(hint, "__supertype__"):
        return members(hint.__supertype__)
    return {hint} - {type(None)}


def said_type(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def finite(value: Any) -> Any:
    """The value itself.

    Raises:
        ValueError: it is NaN or infinite. One such record would spoil the results of all others, and JSON has no form
            for it; so the record is broken.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the value is {value}, which cannot be counted")
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"the value is {value}, which cannot be counted")
    return value


def check(hint: Any) -> Callable[[Any], Any]:
    """A function that gives back what an expression gave, if it is of this type, or None.

    It raises TypeError if it is not, and ValueError if it is NaN or infinite.
    """
    types = members(hint)
    sure, numeric = types - {float, Decimal}, types <= NUMBERS

    def checked(value: Any) -> Any:
        kind = type(value)
        if kind in sure or value is None:
            return value
        if kind in types or hint is Any:
            return finite(value)
        if hint is bool:
            return bool(value)
        if numeric:
            return finite(_plain_number(value))
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            raise TypeError(f"the expression gave {value!r}: {error}") from None

    return checked


def _plain_number(value: Any) -> Any:
    """A subclass, such as numpy's float64, as the type that JSON knows."""
    for kind in (int, float, Decimal):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    raise TypeError(f"the expression gave {value!r}, which is no number")


def said(function: Any) -> str:
    """A function in a repr that is the same in each process: by its name, a lambda also by a hash of its code."""
    name = getattr(function, "__qualname__", None)
    if name is None:
        shown = repr(function)
        return shown if " at 0x" not in shown else f"{type(function).__module__}.{type(function).__qualname__}"
    if name.endswith("<lambda>"):
        return f"<lambda {hashlib.sha256(_code(function.__code__).encode()).hexdigest()[:8]}>"
    return f"{function.__module__}.{name}"


def _code(code: types.CodeType) -> str:
    consts = [_code(each) if inspect.iscode(each) else repr(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {consts} {code.co_names}"
