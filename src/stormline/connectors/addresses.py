"""Where a server is, said without its password: `env:NAME` and `file:PATH` lead to it on each machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from stormline.core.errors import SettingsError

_WITH_PASSWORD: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://[^/@:\s]*:)[^/@\s]+@", re.IGNORECASE)


def resolved(value: str, what: str) -> str:
    """The address itself. `what` it is, for messages. Raises SettingsError if the reference leads nowhere here."""
    kind, _, name = value.partition(":")
    try:
        if kind == "env":
            return os.environ[name]
        if kind == "file":
            return Path(name).read_text().strip()
    except (KeyError, OSError) as error:
        raise SettingsError(f"{what} is {value!r}, which this machine does not have: {error}") from None
    return value


def is_reference(value: str) -> bool:
    return value.startswith(("env:", "file:"))


def shown(value: str) -> str:
    """For a message: without the password."""
    return _WITH_PASSWORD.sub(r"\1...@", value)


def has_password(value: str) -> bool:
    """Whether a URL in the text carries a password."""
    return _WITH_PASSWORD.search(value) is not None
