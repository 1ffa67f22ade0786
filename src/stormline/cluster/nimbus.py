"""A client of Nimbus: streamparse's Thrift interface over a framed, binary connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

CHUNK: Final = 307_200
"""Bytes of one upload call; Nimbus refuses frames above 1 MiB."""


@contextmanager
def connect(host: str, port: int, timeout_ms: int = 10_000) -> Iterator[Any]:
    """A client with Nimbus's Thrift calls. Raises thriftpy2's TException or OSError."""
    from thriftpy2.protocol import TBinaryProtocolFactory
    from thriftpy2.rpc import make_client
    from thriftpy2.transport import TFramedTransportFactory

    client = make_client(
        _wire().Nimbus,
        host=host,
        port=port,
        proto_factory=TBinaryProtocolFactory(),  # type: ignore[no-untyped-call]
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


def submit(client: Any, name: str, place: str, topology: Any, conf: Mapping[str, Any]) -> None:
    """Start `topology` (a StormTopology) under `name`, active; `place` is what `upload` returned."""
    options = _wire().SubmitOptions(initial_status=_wire().TopologyInitialStatus.ACTIVE)
    client.submitTopologyWithOpts(name, place, json.dumps(conf), topology, options)


def kill(client: Any, name: str, wait_s: int = 0) -> None:
    """Ask for its end; its workers have gone when it is in the cluster's list no more, and a moment later."""
    client.killTopologyWithOpts(name, _wire().KillOptions(wait_secs=wait_s))


def _wire() -> Any:
    """Storm's Thrift types; streamparse makes them when it is imported, so nothing is known of them before."""
    from streamparse import thrift

    return thrift
