"""A Nimbus of a few lines, for what a real one cannot be brought to do at will: to be old, leaderless, elsewhere.

It speaks Thrift as Storm does: framed, or in TLS without frames.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import thriftpy2
from streamparse import thrift as storm_thrift
from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.thrift import TApplicationException, TException, TProcessor
from thriftpy2.transport import TBufferedTransportFactory, TFramedTransportFactory, TSocket

from stormline.cluster.nimbus import LEADERSHIP
from stormline.core.errors import ServerError
from stormline.embedded.ports import HOST, free_port

_leadership: Any = thriftpy2.load_fp(io.StringIO(LEADERSHIP), module_name="honest_leadership_thrift")


_ADDED = {f"getSupervisorAssignments_{part}" for part in ("args", "result")} | {"getLeader_result"}
_Service: Any = type(
    "_Service",
    (storm_thrift.Nimbus,),
    {
        "thrift_services": [*storm_thrift.Nimbus.thrift_services, "getSupervisorAssignments"],
        **{name: getattr(_leadership.Leader, name) for name in _ADDED},
    },
)
"""streamparse's calls, and those of Storm 2 about who leads."""


class HonestNimbus:
    """`leads`: by its own knowledge. `elected`: (host, port) as ZooKeeper has it, or None."""

    def __init__(self, *, context: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.leads = True
        self.elected: tuple[str, int] | None = (HOST, self.port)
        self.is_secured = False
        self.calls: list[str] = []
        self.context = context

    def getLeader(self) -> Any:  # noqa: N802
        self.calls.append("getLeader")
        if self.elected is None:
            return None
        host, port = self.elected
        return _leadership.NimbusSummary(host=host, port=port, isLeader=True, version="2.8.3", tlsPort=port)

    def getSupervisorAssignments(self, node: str) -> Any:  # noqa: N802
        if self.is_secured:
            raise _leadership.AuthorizationException(msg="only Supervisors may ask")
        if not self.leads:
            raise TApplicationException(TApplicationException.INTERNAL_ERROR, "not a leader")
        return _leadership.SupervisorAssignments()

    def getClusterInfo(self) -> Any:  # noqa: N802
        self.calls.append("getClusterInfo")
        summary = storm_thrift.NimbusSummary(host="inside", port=1, uptime_secs=1, isLeader=True, version="2.8.3")
        return storm_thrift.ClusterSummary(supervisors=[], topologies=[], nimbuses=[summary])

    @contextmanager
    def listening(self, service: Any = _Service) -> Iterator[HonestNimbus]:
        """With fewer calls in `service`, an older one."""
        with socket.create_server((HOST, self.port)) as server:
            threading.Thread(target=self._accept, args=(server, service), daemon=True).start()
            yield self
            server.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket, service: Any) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, service), daemon=True).start()

    def _serve(self, connection: socket.socket, service: Any) -> None:
        factory: Any = TFramedTransportFactory()
        with suppress(OSError, TException, ServerError), connection:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                factory = TBufferedTransportFactory()
            transport = factory.get_transport(TSocket(sock=connection))  # type: ignore[no-untyped-call]
            protocol = TBinaryProtocolFactory().get_protocol(transport)  # type: ignore[no-untyped-call]
            processor = TProcessor(service, self)
            while True:
                processor.process(protocol, protocol)
