"""Why Kafka does not let us in: each address is tried by hand, step by step, so that the fault can be named.

The clients only say, after a while, that nothing came. Steps: the name, the connection, TLS, Kafka's protocol, SASL.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any, Final

from kafka.net.sasl import get_sasl_mechanism

from stormline.connectors.brokers import Brokers, Sasl

ANSWER_S: Final = 2.0
_API_VERSIONS, _METADATA, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = (18, 0), (3, 7), (17, 1), (36, 0)
"""API key and a version that brokers from 2.1 on, and those of 4.x, speak, whose requests have no tagged fields."""
_UNSUPPORTED_MECHANISM, _ILLEGAL_SASL_STATE, _UNSUPPORTED_VERSION = 33, 34, 35
_HOST_DIFFERS: Final = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""
_LARGEST: Final = 16 << 20


class _Fault(Exception):
    """What is wrong, and what to do; the address comes before it."""


def fault(brokers: Brokers, *, answer_s: float = ANSWER_S) -> str | None:
    """What is in the way, with the address and what to do, of the last address tried; None if one lets us in.

    Never a secret. `answer_s`: how long an address may be silent at each step; a refusal is told at once.
    """
    told = None
    for address in brokers.addresses:
        try:
            _try(address, brokers, answer_s)
        except _Fault as found:
            told = f"Kafka at {address} {found}"
        else:
            return None
    return told


def _try(address: str, brokers: Brokers, answer_s: float) -> None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    with _connected(host, port, answer_s) as plain:
        connection: socket.socket = plain
        if brokers.tls is not None:
            connection = _with_tls(plain, host, brokers.tls.context())
        with connection:
            _speak(connection, host, port, brokers)


def _connected(host: str, port: str, answer_s: float) -> socket.socket:
    try:
        return socket.create_connection((host, int(port)), timeout=answer_s)
    except socket.gaierror as error:
        raise _Fault(f"is not found: no machine here knows {host} ({error.strerror}); is the name right?") from error
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _Fault(f"does not answer: {why}; is it running, and is the address right?") from error


def _with_tls(plain: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _HOST_DIFFERS:
            raise _Fault(
                f"has a certificate for another host ({error.verify_message}); give the address by the name in the "
                "certificate, or let the broker have one for this name"
            ) from error
        raise _Fault(
            f"has a certificate that is not trusted here ({error.verify_message}); name its CA in config.json: "
            '"tls": {"ca": "/path/to/ca.pem"}'
        ) from error
    except OSError as error:
        raise _Fault(
            'does not speak TLS on this port; leave "tls" out, or take the port of its TLS listener '
            f"({_first_line(error)})"
        ) from error


def _speak(connection: socket.socket, host: str, port: str, brokers: Brokers) -> None:
    try:
        first = _ask(connection, _API_VERSIONS, b"")
    except (OSError, EOFError, ValueError) as error:
        if brokers.tls is None and _speaks_tls(host, port):
            raise _Fault('wants TLS on this port; say so in config.json: "tls": true, or {"ca": "..."}') from error
        raise _Fault(
            "took the connection, but does not speak Kafka's protocol; is it the port of a broker? "
            f"({_first_line(error)})"
        ) from error
    if brokers.sasl is not None:
        _authenticate(connection, brokers.sasl)
        return
    if len(first) < 2 or struct.unpack(">h", first[:2])[0] == _UNSUPPORTED_VERSION:
        return  # a broker, but one that knows no such question
    try:
        _ask(connection, _METADATA, struct.pack(">i?", 0, False))
    except (OSError, EOFError, ValueError) as error:
        raise _Fault(
            'wants to know who asks (SASL); say so in config.json: "sasl": {"mechanism": ..., "user": ..., "password": '
            '"env:NAME"}'
        ) from error


def _authenticate(connection: socket.socket, sasl: Sasl) -> None:
    user, password = sasl.credentials()
    config = {"sasl_mechanism": sasl.mechanism, "sasl_plain_username": user, "sasl_plain_password": password}
    try:
        answer = _ask(connection, _SASL_HANDSHAKE, _text(sasl.mechanism.encode()))
        (code, count), rest = struct.unpack_from(">hi", answer), answer[6:]
        if code == _UNSUPPORTED_MECHANISM:
            offered = []
            for _ in range(count):
                (length,) = struct.unpack_from(">h", rest)
                offered.append(rest[2 : 2 + length].decode())
                rest = rest[2 + length :]
            known = ", ".join(sorted(offered))
            raise _Fault(f"does not take {sasl.mechanism}, but {known}; correct the mechanism in config.json")
        if code == _ILLEGAL_SASL_STATE:
            raise _Fault('takes no SASL on this port; leave "sasl" out, or take the port of its SASL listener')
        if code != 0:
            raise _Fault(f"does not take SASL: error {code}")
        steps: Any = get_sasl_mechanism(sasl.mechanism)(host="", **config)
        while not steps.is_done():
            token = steps.auth_bytes()
            answer = _ask(connection, _SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
            code, length = struct.unpack_from(">hh", answer)
            if code != 0:
                raise _Fault(
                    f"does not take this user and password ({sasl.mechanism}); correct them where config.json says "
                    "that they are"
                )
            behind = 4 + max(length, 0)
            (size,) = struct.unpack_from(">i", answer, behind)
            steps.receive(answer[behind + 4 : behind + 4 + max(size, 0)])
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise _Fault(f"ended the SASL exchange ({sasl.mechanism}): {_first_line(error)}") from error


def _speaks_tls(host: str, port: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_S) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def _ask(connection: socket.socket, api: tuple[int, int], body: bytes) -> bytes:
    """The answer without its header. Raises OSError, EOFError, and ValueError for what is none."""
    key, version = api
    request = struct.pack(">hhi", key, version, key) + _text(b"stormline") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _read(connection, 4))
    if not 4 <= size <= _LARGEST:
        raise ValueError("its answer is something else")
    answer = _read(connection, size)
    if struct.unpack_from(">i", answer)[0] != key:
        raise ValueError("its answer is something else")
    return answer[4:]


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError("it closed the connection")
        data += more
    return data


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
