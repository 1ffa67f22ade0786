"""The control batch that ends a transaction in a partition (KIP-98): one record, which clients skip, never hand out.

Its key says how the transaction ended. Layout: "Control Records" in Kafka's message format.
"""

from struct import Struct

from crc32c import crc32c

from stormline.embedded.kafka.batches import HEADER_SIZE, Batch, read_header

_ABORT, _COMMIT = 0, 1
_ATTRIBUTES = 0x30  # transactional, control
_HEAD = Struct(">qiibI")
_CHECKED = Struct(">hiqqqhii")
# Length, attributes, timestamp and offset delta, key of 4 bytes (version, type), value of 6 (version, coordinator's
# epoch), no headers; lengths are zigzag varints.
_RECORD = Struct(">bbbbbhhbhib")
_KEY_TYPE = Struct(">h")
_KEY_TYPE_AT = HEADER_SIZE + 7


def made(producer_id: int, epoch: int, now_ms: int, *, commits: bool) -> tuple[bytes, Batch]:
    """A marker, and its header; it gets its offset when it is appended."""
    size = _RECORD.size
    record = _RECORD.pack((size - 1) << 1, 0, 0, 0, 4 << 1, 0, _COMMIT if commits else _ABORT, 6 << 1, 0, 0, 0)
    checked = _CHECKED.pack(_ATTRIBUTES, 0, now_ms, now_ms, producer_id, epoch, -1, 1) + record
    content = _HEAD.pack(0, _HEAD.size + len(checked) - 12, 0, 2, crc32c(checked)) + checked
    batch = read_header(content)
    assert batch is not None
    return content, batch


def commits(content: bytes | memoryview) -> bool:
    """Whether this control batch ends its transaction by a commit, else by an abort."""
    return bool(_KEY_TYPE.unpack_from(content, _KEY_TYPE_AT)[0] == _COMMIT)
