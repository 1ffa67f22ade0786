"""To which tasks of a subscriber a tuple goes.

The fields and partial key groupings give the tasks that the JVM gives: Java's hash codes over the values as Storm
(2.6 and later) reads them from JSON. Shuffle and none are random in Storm too; shuffle here is even and seeded.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from stormline.core.errors import UserCodeError

Choose = Callable[[Sequence[Any]], Sequence[int]]
"""Values of a tuple -> ids of the tasks that receive it."""

KINDS = ("fields", "global", "all", "direct", "shuffle", "local_or_shuffle", "none", "partial_key")


class Grouping(NamedTuple):
    """How a subscriber splits a stream; `fields` only where the kind is `fields`."""

    kind: str
    fields: tuple[str, ...] = ()


def chooser(grouping: Grouping, stream_fields: Sequence[str], tasks: Sequence[int], random: Random) -> Choose | None:
    """The rule of one sending task towards one subscriber with these tasks (ascending); None for direct streams, where
    the sender names the task."""
    each = [(task,) for task in tasks]
    match grouping.kind:
        case "fields":
            positions = [stream_fields.index(field) for field in grouping.fields]
            return _by_fields(positions, each)
        case "global":
            return _always(each[0])
        case "all":
            return _always(tuple(tasks))
        case "direct":
            return None
        case "shuffle" | "local_or_shuffle":
            return _in_turn(each, random)
        case "none":
            return lambda values: random.choice(each)
        case "partial_key":
            return _by_partial_key(each)
    raise ValueError(f"no grouping of kind {grouping.kind!r}")


def _always(tasks: Sequence[int]) -> Choose:
    return lambda values: tasks


def _in_turn(each: list[tuple[int]], random: Random) -> Choose:
    turns = itertools.cycle(random.sample(each, len(each)))
    return lambda values: next(turns)


def _by_fields(positions: Sequence[int], each: Sequence[tuple[int]]) -> Choose:
    count = len(each)
    return lambda values: each[fields_hash([values[at] for at in positions]) % count]


def _by_partial_key(each: Sequence[tuple[int]]) -> Choose:
    sent = [0] * len(each)

    def choose(values: Sequence[Any]) -> Sequence[int]:
        key = java_text(values[0])
        one, other = partial_key_candidates(key.encode(), len(each))
        index = one if sent[one] <= sent[other] else other
        sent[index] += 1
        return each[index]

    return choose


def java_text(value: Any) -> str:
    """`toString` of a JSON value as the JVM holds it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return _float_text(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("/", "\\/")


def _float_text(value: float) -> str:
    """`Double.toString`: plain from 10^-3 to 10^7, else with an exponent, at least two digits; `BigDecimal.toString`
    where the JSON text is longer than 18 characters."""
    text = repr(value)
    exact = Decimal(text)
    if len(text) > 18:
        return str(exact)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{exact:f}"
    sign, digits, scale = exact.normalize().as_tuple()
    if len(digits) == 1:
        mantissa, exponent = format(value, ".1e").split("e")
        return f"{mantissa}E{int(exponent)}"
    return f"{'-' * sign}{digits[0]}.{''.join(map(str, digits[1:]))}E{int(scale) + len(digits) - 1}"


def fields_hash(values: Sequence[Any]) -> int:
    """The hash of `Arrays.deepHashCode` (`TupleUtils.listHashCode`), a signed 32-bit number; the task is at this
    modulo the number of tasks."""
    total = 1
    for value in values:
        total = (31 * total + java_hash(value)) & 0xFFFFFFFF
    return _signed(total)


def java_hash(value: Any) -> int:
    """`hashCode` of a JSON value as the JVM holds it, a signed 32-bit number."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return 1231 if value else 1237
    if isinstance(value, int):
        return _int_hash(value)
    if isinstance(value, str):
        return _string_hash(value)
    if isinstance(value, float):
        return _float_hash(value)
    if isinstance(value, list | tuple):
        return fields_hash(value)
    if isinstance(value, Mapping):
        return _signed(sum(java_hash(key) ^ java_hash(entry) for key, entry in value.items()) & 0xFFFFFFFF)
    raise UserCodeError(
        f"a fields grouping met {value!r} of type {type(value).__name__}; Storm carries JSON: "
        "group by a str, int, float, bool, None, or lists and dicts of these"
    )


def _int_hash(value: int) -> int:
    """Integer up to 32 bits, Long up to 64, BigInteger above."""
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return value
    if -(1 << 63) <= value < 1 << 63:
        return _signed((value ^ (value >> 32)) & 0xFFFFFFFF)
    total = 0
    size = -(-abs(value).bit_length() // 32)
    for word in struct.unpack(f">{size}I", abs(value).to_bytes(4 * size, "big")):
        total = (31 * total + word) & 0xFFFFFFFF
    return _signed(total if value > 0 else -total & 0xFFFFFFFF)


def _string_hash(value: str) -> int:
    """String: over UTF-16 code units."""
    units = value.encode("utf-16-be", "surrogatepass")
    total = 0
    for (unit,) in struct.iter_unpack(">H", units):
        total = (31 * total + unit) & 0xFFFFFFFF
    return _signed(total)


def _float_hash(value: float) -> int:
    """Double; BigDecimal where the JSON text is longer than 18 characters; infinities arrive as text."""
    if math.isinf(value):
        return _string_hash(json.dumps(value))
    text = repr(value)
    if len(text) > 18:
        return _decimal_hash(Decimal(text))
    (bits,) = struct.unpack(">Q", struct.pack(">d", math.nan if value != value else value))
    return _signed((bits ^ (bits >> 32)) & 0xFFFFFFFF)


def _decimal_hash(value: Decimal) -> int:
    """`BigDecimal.hashCode`: the digits' hash times 31, plus the scale. Up to 64 bits the digits are folded in one go,
    which is what BigInteger's words give."""
    sign, digits, exponent = value.as_tuple()
    size = int("".join(map(str, digits)))
    folded = ((size >> 32) * 31 + (size & 0xFFFFFFFF)) & 0xFFFFFFFF
    return _signed((31 * (-folded if sign else folded) - int(exponent)) & 0xFFFFFFFF)


def partial_key_candidates(key: bytes, count: int) -> tuple[int, int]:
    """The two tasks (as indexes) among which `PartialKeyGrouping` balances a key."""
    draw = _JavaRandom(fields_hash([byte - 256 if byte > 127 else byte for byte in key]))
    one, other = draw.below(count), draw.below(count)
    return one, (other + 1) % count if one == other else other


class _JavaRandom:
    """The generator of `java.util.Random`, as its documentation defines it: 48 bits, linear congruential."""

    def __init__(self, seed: int) -> None:
        self._state = (seed ^ 0x5DEECE66D) & (1 << 48) - 1

    def below(self, bound: int) -> int:
        """`nextInt(bound)`."""
        if bound & (bound - 1) == 0:
            return bound * self._next_31_bits() >> 31
        while True:
            bits = self._next_31_bits()
            index = bits % bound
            if bits - index + bound - 1 < 1 << 31:
                return index

    def _next_31_bits(self) -> int:
        self._state = (self._state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        return self._state >> 17


def _signed(word: int) -> int:
    return word - 0x100000000 if word & 0x80000000 else word
