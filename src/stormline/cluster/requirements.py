"""A requirements file read into lines, with what it includes; and what the framework itself needs on workers."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from stormline.core.errors import SettingsError

NEEDED: Final = ("kafka-python[crc32c,snappy]", "cramjam", "redis", "msgspec", "pystorm", "simplejson", "thriftpy2")
"""What our components, stock ones and their launcher import on a worker."""
STREAMPARSE: Final = "streamparse"
"""Goes without its dependencies: most are for its command line (ssh, templates, a compiler)."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read(path: Path) -> list[str]:
    """The lines of the file and of those that it includes with -r, without comments. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    lines = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).split(None, 1)
        match words:
            case []:
                continue
            case ["-r" | "--requirement", other]:
                lines += read(path.parent / other.strip())
            case ["-c" | "--constraint", other]:
                lines.append(f"-c {(path.parent / other.strip()).resolve()}")
            case ["-e" | "--editable", *_]:
                raise SettingsError(
                    f'{path}: "{line.strip()}": what is editable is only on this machine; put the code into src/, or '
                    "name a wheel of it"
                )
            case _:
                lines.append(" ".join(words).strip())
    return lines


def name_of(line: str) -> str | None:
    """The package that a line asks for, in its normal form; None for an option, a URL or a path."""
    found = _NAME.match(line)
    if found is None or "/" in line.split(";")[0].split(" @ ")[0] or line.endswith(".whl"):
        return None
    return normal(found[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def with_needed(lines: list[str]) -> tuple[list[str], str]:
    """(all lines but streamparse's, streamparse's). What the framework needs is added in the versions that run here,
    where the lines do not name it."""
    named = {name_of(line): line for line in lines}
    own = [line for line in lines if name_of(line) != STREAMPARSE]
    own += [_pinned(package) for package in NEEDED if normal(package.partition("[")[0]) not in named]
    return own, named.get(STREAMPARSE) or _pinned(STREAMPARSE)


def naming(lines: list[str], package: str) -> list[str]:
    """The lines, and the package in the version that runs here, where none of them names it."""
    return lines if normal(package) in map(name_of, lines) else [*lines, _pinned(package)]


def _pinned(package: str) -> str:
    try:
        return f"{package}=={version(package.partition('[')[0])}"
    except PackageNotFoundError:  # it was put on the path by other means
        return package
