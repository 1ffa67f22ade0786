"""One connection to Nimbus: plain, with digest authentication, or in TLS; and what it means if it fails."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

from thriftpy2.thrift import TException
from thriftpy2.transport import TBufferedTransportFactory, TFramedTransportFactory, TSocket
from thriftpy2.transport.sasl import TCySaslClientTransportFactory  # type: ignore[attr-defined]

from stormline.cluster.nimbus_digest import MECHANISM, DigestClient
from stormline.cluster.nimbus_settings import Address, Digest, Security, Tls
from stormline.core.errors import ServerError, SettingsError

_TLS_RECORDS: Final = (0x14, 0x15, 0x16, 0x17)


def opened(address: Address, timeout_ms: int, security: Security = None, name: str | None = None) -> Any:
    """A thriftpy2 transport, connected and authenticated. `name`: the host's own, if `address` is a tunnel's end.

    Raises ServerError if Nimbus is not there or speaks otherwise; later reads and writes do so too.
    """
    name = name or address.host
    link: Any = _Socket(address, timeout_ms, security, name)
    factory: Any
    if isinstance(security, Tls):  # Storm's TLS server reads without frames
        factory = TBufferedTransportFactory()
    elif isinstance(security, Digest):
        client = lambda: DigestClient(security.user, security.password)  # noqa: E731
        factory = TCySaslClientTransportFactory(client, MECHANISM)
    else:
        factory = TFramedTransportFactory()
    transport = factory.get_transport(link)
    try:
        transport.open()
    except TException as error:
        link.close()
        said = getattr(error, "message", None) or error
        raise ServerError(f"Nimbus at {name}:{address.port} refuses the user or the password: {said}") from error
    except BaseException:
        link.close()
        raise
    return transport


class _Socket(TSocket):
    """Errors say what they mean at this point of the conversation; the first answer shows who is there."""

    def __init__(self, address: Address, timeout_ms: int, security: Security, name: str) -> None:
        super().__init__(host=address.host, port=address.port, socket_timeout=timeout_ms)  # type: ignore[no-untyped-call]
        self._address = address
        self._timeout_ms = timeout_ms
        self._security = security
        self._name = name
        self._answered = False

    def open(self) -> None:
        try:
            self.sock = socket.create_connection(self._address, timeout=self._timeout_ms / 1000)
        except socket.gaierror as error:
            raise ServerError(f"{self._address}: no such host ({error.strerror})", retriable=True) from error
        except TimeoutError as error:
            raise ServerError(f"{self._address}: no answer in {self._timeout_ms} ms", retriable=True) from error
        except OSError as error:
            raise ServerError(f"{self._address}: {error.strerror or error}", retriable=True) from error
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(self._security, Tls):
            self._secure(self._security)

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self.sock.recv(size)
        except TimeoutError as error:
            raise ServerError(f"Nimbus at {self._address} is silent for {self._timeout_ms} ms") from error
        except OSError as error:
            raise self._broken(str(error.strerror or error)) from error
        if not data:
            raise self._broken("it closed the connection")
        if not self._answered:
            self._answered = True
            self._look(data)
        return data

    def write(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise ServerError(f"Nimbus at {self._address} takes nothing for {self._timeout_ms} ms") from error
        except OSError as error:
            raise self._broken(str(error.strerror or error)) from error

    def _secure(self, tls: Tls) -> None:
        try:
            context = ssl.create_default_context(cafile=tls.authorities)
            if tls.certificate is not None and tls.key is not None:
                context.load_cert_chain(tls.certificate, tls.key)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(f"the files of nimbus.thrift.tls.client cannot be used as PEM: {error}") from error
        try:
            self.sock = context.wrap_socket(self.sock, server_hostname=self._name)
        except ssl.SSLCertVerificationError as error:
            raise ServerError(
                f"Nimbus at {self._address} shows a certificate that does not count for {self._name}: "
                f"{error.verify_message}. nimbus.thrift.tls.client.truststore.path names the authorities"
            ) from error
        except (ssl.SSLError, OSError) as error:
            raise ServerError(
                f"{self._address} does not speak TLS ({getattr(error, 'reason', None) or error}): "
                'is it the port of "nimbus.thrift.tls.port"?'
            ) from error

    def _look(self, data: bytes) -> None:
        """A plain Nimbus begins with the length of a short frame; others betray themselves by their first byte."""
        if self._security is not None:
            return
        if data[0] in _TLS_RECORDS:
            raise ServerError(f'{self._address} expects TLS: set "nimbus.thrift.client.use.tls"')
        if data[0] in (3, 4) and data[1:2] == b"\0":
            raise ServerError(
                f'{self._address} expects SASL: set "storm.thrift.transport" as it is in the cluster\'s storm.yaml'
            )
        if data[0] != 0:
            raise ServerError(f"{self._address} is no Nimbus: it answers with {data[:16]!r}")

    def _broken(self, what: str) -> ServerError:
        if self._answered:
            return ServerError(f"the connection to Nimbus at {self._address} broke: {what}", retriable=True)
        if isinstance(self._security, Digest):
            expected = "it may not expect SASL digest, or refuse the user"
        elif isinstance(self._security, Tls):
            expected = (
                "it may want a certificate of ours (nimbus.thrift.tls.client.cert.path); or be a Storm whose log says "
                "`UnsupportedOperationException ... getPeerCertificateChain`: 2.8.3 on Java 17 answers nobody over TLS"
            )
        else:
            expected = "it may expect TLS or SASL (see its storm.yaml), or be no Nimbus"
        return ServerError(f"{self._address} does not answer as Nimbus: {what}; {expected}")
