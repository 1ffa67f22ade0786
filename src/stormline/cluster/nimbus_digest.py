"""The client's part of SASL DIGEST-MD5 (RFC 2831), authentication only, as Storm's DigestSaslTransportPlugin wants it.

The calls are those that thriftpy2's SASL transport makes.
"""

from __future__ import annotations

import re
import secrets
from hashlib import md5
from typing import Final

MECHANISM: Final = "DIGEST-MD5"
URI: Final = "storm_thrift_server/localhost"
"""Storm's server calls itself so, on whichever host it runs, and refuses another name."""
_PAIR: Final = re.compile(r'\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,"\s]*))\s*(?:,|$)')
_COUNT: Final = "00000001"
"""Nonces are used once."""


class DigestClient:
    """One authentication. `client_nonce` is drawn, unless it is given."""

    def __init__(self, user: str, password: str, *, client_nonce: str = "", uri: str = URI) -> None:
        self._user = user
        self._password = password
        self._uri = uri
        self._client_nonce = client_nonce or secrets.token_urlsafe(24)
        self._expected: str | None = None
        self._error = ""

    def start(self, mechanism: str) -> tuple[bool, str, bytes]:
        """The server speaks first."""
        return True, mechanism, b""

    def step(self, challenge: bytes) -> tuple[bool, bytes]:
        """The answer to a challenge; nothing to say once the server has proved that it knows the password too."""
        given = {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(challenge.decode())}
        given = {name: re.sub(r"\\(.)", r"\1", value) for name, value in given.items()}
        if self._expected is not None:
            if given.get("rspauth") != self._expected:
                self._error = "the server does not know this user's password"
                return False, b""
            return True, b""
        if given.get("algorithm") != "md5-sess" or "auth" not in given.get("qop", "auth").split(","):
            self._error = f"the server wants algorithm {given.get('algorithm')} and quality {given.get('qop')}"
            return False, b""
        return True, self._answer(given).encode()

    def encode(self, data: bytes) -> tuple[bool, bytes]:
        """As it is: `auth` protects the connection's start alone."""
        return True, data

    def decode(self, data: bytes) -> tuple[bool, bytes]:
        return True, data

    def getError(self) -> str:  # noqa: N802 - thriftpy2's name
        return self._error

    def _answer(self, given: dict[str, str]) -> str:
        realm, nonce = given.get("realm", ""), given.get("nonce", "")
        secret = md5(f"{self._user}:{realm}:{self._password}".encode(), usedforsecurity=False).digest()
        start = _hex(secret + f":{nonce}:{self._client_nonce}".encode())

        def proof(method: str) -> str:
            middle = f"{nonce}:{_COUNT}:{self._client_nonce}:auth"
            return _hex(f"{start}:{middle}:{_hex(f'{method}:{self._uri}'.encode())}".encode())

        self._expected = proof("")
        fields = [
            *(("charset", "utf-8"), ("username", _quoted(self._user)), ("realm", _quoted(realm))),
            *(("nonce", _quoted(nonce)), ("nc", _COUNT), ("cnonce", _quoted(self._client_nonce))),
            *(("digest-uri", _quoted(self._uri)), ("response", proof("AUTHENTICATE")), ("qop", "auth")),
        ]
        return ",".join(f"{name}={value}" for name, value in fields)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _hex(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()
