"""A client of Nimbus: streamparse's Thrift interface over a framed, binary connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

CHUNK: Final = 307_200
"""Bytes of one upload call; Nimbus refuses frames above 1 MiB."""


@contextmanager
def connect(host: str, port: int, timeout_ms: int = 10_000) -> Iterator[Any]:
    """A client with Nimbus's Thrift calls. Raises thriftpy2's TException or OSError."""
    from streamparse.thrift import Nimbus
    from thriftpy2.protocol import TBinaryProtocolFactory
    from thriftpy2.rpc import make_client
    from thriftpy2.transport import TFramedTransportFactory

    client = make_client(
        Nimbus,
        host=host,
        port=port,
        proto_factory=TBinaryProtocolFactory(),
        trans_factory=TFramedTransportFactory(),
        timeout=timeout_ms,
    )
    try:
        yield client
    finally:
        client.close()


def upload(client: Any, jar: Path) -> str:
    """The place of the jar on Nimbus, for submitTopologyWithOpts."""
    place: str = client.beginFileUpload()
    with jar.open("rb") as file:
        while chunk := file.read(CHUNK):
            client.uploadChunk(place, chunk)
    client.finishFileUpload(place)
    return place
