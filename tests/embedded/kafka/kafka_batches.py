"""Record batches as a producer would make them, for the tests below the protocol."""

from collections.abc import Sequence

from kafka.record.default_records import DefaultRecordBatchBuilder

GZIP = 1


def made(
    times: Sequence[int],
    *,
    producer: int = -1,
    epoch: int = 0,
    sequence: int = 0,
    codec: int = 0,
    size: int = 10,
    transactional: bool = False,
) -> bytes:
    """A batch with one record for each time in ms, `size` bytes each, by an idempotent producer if it has an id."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, -1, -1, -1, 1 << 24)
    if producer >= 0:
        builder.set_producer_state(producer, epoch, sequence, transactional)
    for offset, time_ms in enumerate(times):
        builder.append(offset, time_ms, None, b"v" * size, [])
    return bytes(builder.build())
