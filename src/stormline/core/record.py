"""The typed value that travels: a record, and where it came from."""

from __future__ import annotations

from typing import NamedTuple, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=False)
class Record(msgspec.Struct, frozen=True, gc=False):
    """Base of every schema: subclass it and annotate the fields.

    What was decoded cannot point to itself, so the garbage collector need not look at it (`gc=False`): it would walk
    over every record in flight, again and again.

    Decoding checks the types and names the field that is wrong. `Decimal` fields are read from the digits of the JSON
    number, so money never passes through a float.
    """


class Origin(NamedTuple):
    """Where a record came from; the identity under which it is counted once."""

    partition: str
    """`<topic>:<topic id>/<number>`"""
    offset: int

    def __str__(self) -> str:
        topic, _, number = self.partition.rpartition("/")
        return f"{topic.partition(':')[0]}/{number}/{self.offset}"
