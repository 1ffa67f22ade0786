"""The JAR of a topology: a zip whose `resources/` a Supervisor unpacks. The same content gives the same bytes.

resources/...                     all of src/
resources/stormline/...           this framework, as it runs here
resources/site-packages/...       the wheels, unpacked
resources/stormline-bundle.json   which Python and machine they are for
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from stormline.core.errors import SettingsError

RESOURCES: Final = "resources"
WHEELS: Final = "site-packages"
PACKAGE: Final = "stormline"
LAUNCHER: Final = f"{PACKAGE}/multilang/launch.py"
BUNDLE: Final = "stormline-bundle.json"
_MANIFEST: Final = b"Manifest-Version: 1.0\r\nCreated-By: stormline\r\n\r\n"
_THEN: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold, for every file."""
_MODE: Final = 0o100644 << 16
_LEFT_OUT: Final = ("__pycache__", ".DS_Store")
_LEFT_OUT_ENDINGS: Final = (".pyc", ".pyo", ".egg-info")
Content = Mapping[str, Path | bytes]
"""Name in the JAR -> the file, or what it holds."""


def content(sources: Path, package: Path, wheels: Path | None, bundle: bytes | None) -> Content:
    """What goes into the JAR. `sources`: the project's src/. `package`: the folder of the running `stormline`.

    Raises SettingsError if src/ has something else where the framework or the wheels go, or cannot be read.
    """
    if not sources.is_dir():
        raise SettingsError(f"no folder {sources}: it holds the spouts and bolts, and is what ships to the workers")
    faults = []
    if (sources / PACKAGE).exists() and not (sources / PACKAGE).samefile(package):
        faults.append(
            f"{sources / PACKAGE} is not the package that runs this command ({package}), which is what ships; remove "
            "it, or run the command of that copy"
        )
    faults += [
        f"{sources / name} stands where the JAR has something of its own; give it another name"
        for name in (WHEELS, BUNDLE)
        if (sources / name).exists()
    ]
    if faults:
        raise SettingsError(*faults)
    found: dict[str, Path | bytes] = {"META-INF/MANIFEST.MF": _MANIFEST}
    for folder, below in ((sources, ""), (package, f"{PACKAGE}/"), (wheels, f"{WHEELS}/")):
        if folder is not None:
            found |= {f"{RESOURCES}/{below}{name}": path for name, path in _files(folder)}
    if bundle is not None:
        found[f"{RESOURCES}/{BUNDLE}"] = bundle
    return found


def write(jar: Path, files: Content) -> None:
    """Make the zip; a file of that name is replaced only by a whole one."""
    jar.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=jar.parent, prefix=f".{jar.name}.")
    try:
        with os.fdopen(fd, "wb") as file, zipfile.ZipFile(file, "w") as made:
            for entry in sorted(files):
                source = files[entry]
                info = zipfile.ZipInfo(entry, _THEN)
                info.create_system, info.external_attr, info.compress_type = 3, _MODE, zipfile.ZIP_DEFLATED
                made.writestr(info, source if isinstance(source, bytes) else source.read_bytes(), compresslevel=6)
        os.chmod(name, 0o644)
        os.replace(name, jar)
    except BaseException:
        os.unlink(name)
        raise


def unpack(jar: Path, folder: Path) -> None:
    """What a Supervisor makes of it: the content of resources/, no file executable."""
    with zipfile.ZipFile(jar) as opened:
        for info in opened.infolist():
            name = info.filename.removeprefix(f"{RESOURCES}/")
            if name != info.filename and not info.is_dir():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(opened.read(info))


def is_ours(jar: Path) -> bool:
    """Whether it holds the launcher. Raises SettingsError for what is no JAR."""
    try:
        with zipfile.ZipFile(jar) as opened:
            return f"{RESOURCES}/{LAUNCHER}" in opened.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise SettingsError(f"{jar} is no JAR that can be read: {error}") from error


def listing(jar: Path) -> list[tuple[str, int, int]]:
    """(name below resources/, files, bytes compressed), sorted: what a reader wants to know of a JAR."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    with zipfile.ZipFile(jar) as opened:
        for info in opened.infolist():
            first, _, rest = info.filename.removeprefix(f"{RESOURCES}/").partition("/")
            if first == WHEELS:
                first = f"{WHEELS}/{rest.partition('/')[0]}"
            files[first] += 1
            sizes[first] += info.compress_size
    return [(name, files[name], sizes[name]) for name in sorted(files)]


def _files(folder: Path, seen: tuple[Path, ...] = ()) -> Iterator[tuple[str, Path]]:
    """(name with slashes, file) of every file below, links followed; without what belongs to this machine."""
    real = folder.resolve()
    if real in seen:
        raise SettingsError(f"{folder} is a link to a folder above it: what ships would have no end")
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT or path.name.endswith(_LEFT_OUT_ENDINGS):
            continue
        if path.is_dir():
            yield from ((f"{path.name}/{name}", file) for name, file in _files(path, (*seen, real)))
        elif path.is_file():
            yield path.name, path
        else:
            raise SettingsError(f"{path} leads to nothing that can be read; remove it: all of {folder} ships")
