"""The bytes of Kafka's record batches (message format v2): written by the feed, read by the spout's reader.

The layout is that of Kafka's documentation, "Record Batch": lengths and deltas are zigzag varints, the checksum
(CRC-32C) starts at the attributes. kafka-python has an object for each record; a loop over the bytes costs a fifth.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from kafka.record.util import calc_crc32c

from stormline.connectors.columns import Headers

_HEADER = struct.Struct(">qiibIhiqqqhii")
_CHECKED = struct.Struct(">hiqqqhii")


class Lists(NamedTuple):
    """The columns of a batch."""

    offsets: list[int]
    timestamps_ms: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


@lru_cache(maxsize=1 << 16)
def varint(number: int) -> bytes:
    """The zigzag varint of a signed 64-bit number."""
    number = number << 1 if number >= 0 else ~(number << 1)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


NO_KEY = varint(-1)


def encode_batch(
    records: Sequence[tuple[int, bytes | None, bytes, bytes]],
    *,
    header: bytes,
    producer_id: int,
    producer_epoch: int,
    base_sequence: int,
) -> bytes:
    """One uncompressed batch of records (timestamp in ms, key, value, value of their one header named `header`).

    Producer id, epoch and sequence let the broker recognise a batch that comes twice (KIP-98).
    """
    first_ms = records[0][0]
    header_name = varint(1) + varint(len(header)) + header
    parts = []
    for delta, (time_ms, key, value, header_value) in enumerate(records):
        record = b"".join(
            (
                b"\0",
                varint(time_ms - first_ms),
                varint(delta),
                NO_KEY if key is None else varint(len(key)) + key,
                varint(len(value)),
                value,
                header_name,
                varint(len(header_value)),
                header_value,
            )
        )
        parts.append(varint(len(record)))
        parts.append(record)
    body = b"".join(parts)
    last_ms = max(record[0] for record in records)
    count = len(records)
    checked = (0, count - 1, first_ms, last_ms, producer_id, producer_epoch, base_sequence, count)
    checksum = calc_crc32c(_CHECKED.pack(*checked) + body)
    length = _HEADER.size - 12 + len(body)
    return _HEADER.pack(0, length, -1, 2, checksum, *checked) + body


def read_values(data: bytes, position: int, count: int, into: list[bytes | None]) -> int:
    """Append the values of `count` records, which start at `position`; the position behind the last record.

    Raises IndexError where `data` ends too soon. All but the values is stepped over.
    """
    append = into.append
    for _ in range(count):
        # The loop of a varint stands here three times: a call for each would cost more than the rest together.
        byte = data[position]
        position += 1
        length = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
        end = position + (length >> 1)
        position += 1  # attributes, unused
        while data[position] & 0x80:  # the timestamp
            position += 1
        position += 1
        while data[position] & 0x80:  # the offset
            position += 1
        position += 1

        byte = data[position]
        position += 1
        length = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
        if not length & 1:  # length -1: no key
            position += length >> 1

        byte = data[position]
        position += 1
        length = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
        if length & 1:
            append(None)
        else:
            length >>= 1
            append(data[position : position + length])
            position += length
        if position > end:
            raise IndexError(f"a record reaches {position - end} bytes beyond its end")
        position = end
    if position > len(data):
        raise IndexError(f"the last record ends {position - len(data)} bytes behind the batch")
    return position


def read_all(data: bytes, position: int, count: int, base_offset: int, first_ms: int) -> Lists:
    """Offsets, timestamps, keys and values of `count` records, which start at `position`.

    Raises IndexError where `data` ends too soon. Headers are stepped over.
    """
    offsets, times, keys, values = columns = Lists([], [], [], [])
    for _ in range(count):
        byte = data[position]
        position += 1
        length = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
        end = position + (length >> 1)
        position += 1  # attributes, unused

        byte = data[position]
        position += 1
        number = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
        times.append(first_ms + ((number >> 1) ^ -(number & 1)))

        byte = data[position]
        position += 1
        number = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
        offsets.append(base_offset + (number >> 1))

        byte = data[position]
        position += 1
        number = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
        if number & 1:  # length -1: no key
            keys.append(None)
        else:
            number >>= 1
            keys.append(data[position : position + number])
            position += number

        byte = data[position]
        position += 1
        number = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
        if number & 1:
            values.append(None)
        else:
            number >>= 1
            values.append(data[position : position + number])
            position += number
        if position > end:
            raise IndexError(f"a record reaches {position - end} bytes beyond its end")
        position = end
    if position > len(data):
        raise IndexError(f"the last record ends {position - len(data)} bytes behind the batch")
    return columns


def read_headers(data: bytes, position: int, count: int) -> list[Headers]:
    """The headers of `count` records, which start at `position`; names are UTF-8.

    Raises IndexError where `data` ends too soon. All else is stepped over. Seldom called, so it need not be fast.
    """
    found = []
    for _ in range(count):
        length, position = _varint_at(data, position)
        end = position + length
        position += 1  # attributes, unused
        for _ in range(2):  # timestamp, offset
            _, position = _varint_at(data, position)
        for _ in range(2):  # key, value
            _, position = _bytes_at(data, position)
        many, position = _varint_at(data, position)
        headers = []
        for _ in range(many):
            name, position = _bytes_at(data, position)
            value, position = _bytes_at(data, position)
            headers.append(((name or b"").decode("utf-8", "replace"), value))
        found.append(tuple(headers))
        position = end
    if position > len(data):
        raise IndexError(f"the last record ends {position - len(data)} bytes behind the batch")
    return found


def _varint_at(data: bytes, position: int) -> tuple[int, int]:
    """The number that starts at `position`, and the position behind it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), position
        shift += 7


def _bytes_at(data: bytes, position: int) -> tuple[bytes | None, int]:
    """The bytes behind their length (-1: none), and the position behind them."""
    length, position = _varint_at(data, position)
    return (None, position) if length < 0 else (data[position : position + length], position + length)
