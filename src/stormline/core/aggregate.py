"""What is computed over the records of a window: small folds, several a window.

An accumulator is an immutable value: `add` returns a new one, so a record whose user code raises half-way changes
nothing. The folds are in `arithmetic`, `statistics`, `ordered`, `frequent` and `sketches`; here they become one.
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stormline.core.arithmetic import AllTrue, AnyTrue, Count, Max, Mean, Min, Range, Sum, WeightedMean
from stormline.core.compiled import Accumulators, Bound, Index, written_add, written_merge, written_result
from stormline.core.errors import StateError
from stormline.core.fold import EXACT, MEAN_DIGITS, Aggregate, Fold, Place
from stormline.core.frequent import TopK
from stormline.core.ordered import Collect, Concat, First, Last
from stormline.core.own import Own
from stormline.core.reading import reading, reading_faults, shape_faults
from stormline.core.sketches import Distinct, Quantiles
from stormline.core.statistics import Histogram, StdDev, Variance

__all__ = [
    "EXACT",
    "MEAN_DIGITS",
    "Accumulators",
    "Aggregate",
    "Aggregation",
    "AllTrue",
    "AnyTrue",
    "Collect",
    "Concat",
    "Count",
    "Distinct",
    "First",
    "Histogram",
    "Last",
    "Max",
    "Mean",
    "Min",
    "Place",
    "Quantiles",
    "Range",
    "StdDev",
    "Sum",
    "TopK",
    "Variance",
    "WeightedMean",
    "aggregate_faults",
    "written",
]

RESERVED = ("component", "window", "key", "start", "start_ms", "end", "end_ms", "state", "revision", "id")
"""What a row of results, or a tuple on `final` and `updates`, tells besides its aggregates."""


class Aggregation:
    """The aggregates of one window by name: fold records in, tell the result, write the state down and read it back."""

    def __init__(
        self, aggregates: Mapping[str, Aggregate], schema: type[msgspec.Struct], *, counted: bool = False
    ) -> None:
        """`counted`: the records are counted, whether an aggregate does it or not.

        Raises ValueError with all `aggregate_faults`.
        """
        faults = aggregate_faults(aggregates, schema)
        if faults:
            raise ValueError("\n".join(faults))
        self.names = tuple(aggregates)
        values = list(map(_fold, aggregates.values()))
        folds, indices = _folds([*values, Count()] if counted else values, schema)
        self._counted = indices.pop() if counted else None
        self._empty = tuple(bound.fold.create() for bound in folds)
        result_types = [fold.result_type(_bound(fold, schema).hint) for fold in values]
        state_types = [bound.fold.state_type(bound.hint) for bound in folds]
        self.result_type = msgspec.defstruct(
            "Result", list(zip(self.names, result_types, strict=True)), frozen=True, gc=False
        )
        self._decode_result = msgspec.json.Decoder(self.result_type).decode
        self._decode_state = msgspec.json.Decoder(tuple[tuple(state_types)]).decode  # type: ignore[misc]
        self.needs_place = any(bound.fold.ordered for bound in folds)
        """Some aggregate asks which record came before which: `add` has the place of the record as third argument."""
        self.add: Callable[..., Accumulators] = written_add(folds, placed=self.needs_place)
        """The accumulators (None: of no record) and one more record -> the accumulators with it. If it raises, it has
        changed nothing."""
        self.merge = written_merge(folds)
        """The accumulators of two parts of the records -> those of both; the two stay as they were."""
        self.result = written_result(self.result_type, values, indices)
        """The result of accumulators, as a Struct with one attribute an aggregate."""
        named = zip(self.names, values, indices, strict=True)
        shown = {index: name for name, fold, index in named if fold.result_is_state}
        self._shown = [shown.get(number, "") for number in range(len(folds))]
        """For each fold the name of a result that is its accumulator, if there is one."""
        self.needs_state = "" in self._shown
        """Some accumulator cannot be read back from the result."""

    def records(self, accumulators: Accumulators) -> int:
        """How many records these are of; only if they are `counted`."""
        assert isinstance(self._counted, int)
        return int(accumulators[self._counted])

    def write_results(self, rows: Mapping[str, Accumulators]) -> dict[str, str]:
        """For each key the JSON object of the results by name; Decimals as strings, times ISO 8601."""
        return dict(zip(rows, _written(list(map(self.result, rows.values()))), strict=True))

    def write_states(self, rows: Mapping[str, Accumulators]) -> dict[str, str]:
        """For each key the JSON array of all accumulators."""
        return dict(zip(rows, _written(list(rows.values())), strict=True))

    def read(self, result: str | None, state: str | None) -> Accumulators:
        """The accumulators, from the state if there is one, else from the result.

        Raises:
            StateError: there is only a result, and it does not tell all of them.
        """
        if state is not None:
            return tuple(self._decode_state(state))
        if result is None:
            return self._empty
        if self.needs_state:
            raise StateError(f"the result {result} is stored without the state that it was made of")
        struct = self._decode_result(result)
        return tuple(getattr(struct, name) for name in self._shown)


def aggregate_faults(aggregates: Mapping[str, Any], schema: type[msgspec.Struct] | None = None) -> list[str]:
    """All that is wrong with the aggregates of a window; without a schema, all that can be told without one."""
    faults = list(_name_faults(list(aggregates)))
    for name, aggregate in aggregates.items():
        fold = _fold(aggregate)
        found = fold.faults()
        if schema is not None and not shape_faults(fold.value, fold.where):
            for value, kind in fold.readings:
                if not shape_faults(value, None):
                    found += reading_faults(value, fold.where, kind, schema)
        faults += [f"the aggregate {name} {fault}" for fault in dict.fromkeys(found)]
    return faults


def _name_faults(names: Sequence[Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            yield f"the aggregate {name!r} needs a name that could be a Python variable, without _ in front"
        elif name in RESERVED:
            yield f"the aggregate {name!r} needs another name: a row of results has a {name} of its own"
        else:
            same = seen.setdefault(unicodedata.normalize("NFKC", name), name)
            if same is not name:
                yield f"the aggregates {same!r} and {name!r} have one name: Python reads them as the same"


def _fold(aggregate: Any) -> Fold:
    return aggregate if isinstance(aggregate, Fold) else Own(aggregate)


def _bound(fold: Fold, schema: type[msgspec.Struct]) -> Bound:
    return Bound(fold, tuple(reading(value, fold.where, kind, schema) for value, kind in fold.readings))


def _folds(aggregates: Sequence[Fold], schema: type[msgspec.Struct]) -> tuple[list[Bound], list[Index]]:
    """What is folded, each once, and where each aggregate finds its accumulator."""
    folds: list[Bound] = []
    known: dict[Any, int] = {}

    def index(fold: Fold) -> int:
        bound = _bound(fold, schema)
        same = fold.identity(bound.readings[0])
        if same not in known:
            known[same] = len(folds)
            folds.append(bound)
        return known[same]

    return folds, [tuple(map(index, fold.parts)) if fold.parts else index(fold) for fold in aggregates]


_encoder = msgspec.json.Encoder(decimal_format="string")
written = _encoder.encode
"""A value as JSON, Decimals as texts."""
_encode_lines = _encoder.encode_lines


def _written(values: list[Any]) -> list[str]:
    """The JSON of each: one call for all of them takes half the time, and JSON has no line breaks of its own."""
    return _encode_lines(values).decode().split("\n")[:-1]
