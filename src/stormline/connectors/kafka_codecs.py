"""The compressed part of a batch, unpacked.

kafka-python wants a package for each codec, 33 MB of them, and gives up on a batch of zstd that is larger than 1 MB and
does not say so. cramjam has all codecs; python-snappy, a few lines above it, knows how Java frames snappy.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Any, Final

from kafka.codec import snappy_decode
from kafka.errors import CorruptRecordError, UnsupportedCodecError


def _snappy(data: bytes) -> bytes:
    import snappy  # noqa: F401 - kafka-python asks for it when it is too late for a clear message

    return bytes(snappy_decode(data))


def _lz4(data: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.lz4.decompress(data))


def _zstd(data: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.zstd.decompress(data))


_CODECS: Final[Mapping[int, tuple[str, Callable[[bytes], bytes]]]] = {
    1: ("gzip", gzip.decompress),
    2: ("snappy", _snappy),
    3: ("lz4", _lz4),
    4: ("zstd", _zstd),
}
_PACKAGES: Final = {"snappy": "python-snappy"}
"""Where it is not called as what is imported of it."""


def unpacked(batch: Any) -> tuple[bytes, int]:
    """The records of a batch of format 2, and where they begin. Raises CorruptRecordError, UnsupportedCodecError."""
    if batch.compression_type == batch.CODEC_NONE:
        return bytes(batch._buffer), batch._pos
    if batch.compression_type not in _CODECS:
        raise UnsupportedCodecError(f"the batch at offset {batch.base_offset} has codec {batch.compression_type}")
    name, decode = _CODECS[batch.compression_type]
    try:
        return decode(bytes(memoryview(batch._buffer)[batch._pos :])), 0
    except ImportError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise UnsupportedCodecError(
            f"the batch at offset {batch.base_offset} is compressed with {name}, and the package {package} is not "
            f"installed here: pip install {package}"
        ) from error
    except Exception as error:  # each library has its own
        raise CorruptRecordError(f"the batch at offset {batch.base_offset} is no {name}: {error}") from error
