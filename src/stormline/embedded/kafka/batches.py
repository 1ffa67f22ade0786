"""The record batch, version 2: what a producer sends, a segment stores and a consumer gets, byte for byte.

A broker changes only the base offset and the leader epoch (bytes 0-8 and 12-16), both outside the checksum, so the cost
is per batch and no record is decoded, save to look up a time. Layout: "Record Batch" in Kafka's message format.
"""

import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from crc32c import crc32c

from stormline.embedded.kafka.errors import Code, RefusedError

_HEADER = Struct(">qiibIhiqqqhii")
HEADER_SIZE = _HEADER.size  # 61
_LENGTH_FROM = 12  # the length field counts what follows it
_CHECKED_FROM = 21  # the checksum covers what follows it
_REWRITTEN = Struct(">qii")
_CHECKSUM, _CHECKSUM_FROM = Struct(">I"), 17
_ATTRIBUTES = Struct(">h")
_MAX_TIMESTAMP, _MAX_TIMESTAMP_FROM = Struct(">q"), 35
_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20


class Batch(NamedTuple):
    """A batch's header. `size` is that of the whole batch in bytes; times are in ms since the epoch."""

    base_offset: int
    size: int
    leader_epoch: int
    magic: int
    checksum: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """A marker, not records."""
        return bool(self.attributes & _CONTROL)


def read_header(content: bytes | memoryview, position: int = 0) -> Batch | None:
    """The header at `position`, or None where no version 2 header can be."""
    if len(content) - position < HEADER_SIZE:
        return None
    offset, length, *rest = _HEADER.unpack_from(content, position)
    batch = Batch(offset, length + _LENGTH_FROM, *rest)
    if batch.magic != 2 or batch.size < HEADER_SIZE or batch.last_offset_delta < 0:
        return None
    return batch


def is_intact(content: bytes | memoryview, position: int, batch: Batch) -> bool:
    """Whether the bytes of the batch are all there and as the producer made them."""
    end = position + batch.size
    return end <= len(content) and crc32c(memoryview(content)[position + _CHECKED_FROM : end]) == batch.checksum


def accept(content: bytes | None, max_bytes: int) -> Batch:
    """Check what a producer sent to one partition: one whole intact batch. RefusedError says what is wrong with it."""
    if content is None or len(content) < HEADER_SIZE:
        raise RefusedError(Code.INVALID_RECORD, "no whole record batch came")
    batch = read_header(content)
    if batch is None:
        raise RefusedError(Code.UNSUPPORTED_FOR_MESSAGE_FORMAT, "only record batches of version 2 are taken")
    if batch.size != len(content):
        reason = f"a batch of {batch.size} bytes was announced, {len(content)} came; one batch per partition is taken"
        raise RefusedError(Code.INVALID_RECORD, reason)
    if batch.size > max_bytes:
        reason = f"the batch has {batch.size} bytes; max.message.bytes of the topic is {max_bytes}"
        raise RefusedError(Code.MESSAGE_TOO_LARGE, reason)
    if not is_intact(content, 0, batch):
        raise RefusedError(Code.CORRUPT_MESSAGE, "the checksum of the batch is wrong")
    if batch.record_count != batch.last_offset_delta + 1:
        raise RefusedError(
            Code.INVALID_RECORD, f"{batch.record_count} records do not fit {batch.last_offset_delta + 1} offsets"
        )
    if batch.is_control:
        raise RefusedError(Code.INVALID_RECORD, "only the broker writes markers of transactions")
    if batch.is_transactional and batch.producer_id < 0:
        raise RefusedError(Code.INVALID_RECORD, "a transactional batch has no producer id")
    return batch


def placed(content: bytes, batch: Batch, base_offset: int) -> tuple[bytes, memoryview]:
    """The batch as it is stored, in two pieces: its own base offset and leader epoch 0, then the bytes as they came."""
    return _REWRITTEN.pack(base_offset, batch.size - _LENGTH_FROM, 0), memoryview(content)[_REWRITTEN.size :]


def stamped(content: bytes, batch: Batch, now_ms: int) -> tuple[bytes, Batch]:
    """The batch with the broker's time in the place of the producer's, for topics with LogAppendTime."""
    attributes = batch.attributes | _LOG_APPEND_TIME
    changed = bytearray(content)
    _ATTRIBUTES.pack_into(changed, _CHECKED_FROM, attributes)
    _MAX_TIMESTAMP.pack_into(changed, _MAX_TIMESTAMP_FROM, now_ms)
    checksum = crc32c(memoryview(changed)[_CHECKED_FROM:])
    _CHECKSUM.pack_into(changed, _CHECKSUM_FROM, checksum)
    return bytes(changed), batch._replace(attributes=attributes, max_timestamp=now_ms, checksum=checksum)


def end_of(content: bytes, start: int) -> int:
    """The offset after the last of these whole batches; `start` if there is none."""
    position = 0
    while (batch := read_header(content, position)) is not None:
        start = batch.next_offset
        position += batch.size
    return start


def times(content: bytes, batch: Batch) -> Iterator[tuple[int, int]]:
    """Offset and timestamp of each record. Without the library of the batch's codec: one pair for the whole batch.

    That pair is the first offset with the highest time, so that a look-up never answers an offset which is too late.
    """
    if batch.attributes & _LOG_APPEND_TIME:
        yield batch.base_offset, batch.max_timestamp
        return
    records = _decompressed(memoryview(content)[HEADER_SIZE:], batch.attributes & _CODEC)
    if records is None:
        yield batch.base_offset, batch.max_timestamp
        return
    position = 0
    for _ in range(batch.record_count):
        length, body = _varint(records, position)
        timestamp_delta, after = _varint(records, body + 1)  # one byte of attributes comes first
        offset_delta, _ = _varint(records, after)
        yield batch.base_offset + offset_delta, batch.base_timestamp + timestamp_delta
        position = body + length


def _varint(content: bytes | memoryview, position: int) -> tuple[int, int]:
    """A zigzag varint at `position`, and the position after it."""
    raw = shift = 0
    while True:
        byte = content[position]
        position += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), position
        shift += 7


def _decompressed(body: memoryview, codec: int) -> bytes | memoryview | None:
    if codec == 0:
        return body
    if codec == 1:
        return zlib.decompress(body, wbits=31)
    import kafka.codec  # late: a look-up by time in a compressed batch is rare, these libraries are large

    codecs: Any = kafka.codec
    present, decode = {
        2: (codecs.has_snappy, codecs.snappy_decode),
        3: (codecs.has_lz4, codecs.lz4_decode),
        4: (codecs.has_zstd, codecs.zstd_decode),
    }[codec]
    return bytes(decode(bytes(body))) if present() else None
