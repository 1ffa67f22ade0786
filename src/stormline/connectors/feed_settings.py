"""`feed` of an environment in config.json: what goes into which topic. All faults are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stormline.connectors.feed_file import CsvFile, header
from stormline.connectors.feed_lines import LinesFile
from stormline.connectors.feed_program import Program, fault_of
from stormline.core.errors import SettingsError

OF_A_FILE = ("file", "key", "event_time", "partitions")
OF_A_PROGRAM = ("program", "records", "seed", "partitions")


class FeedSettings(NamedTuple):
    """One entry of `feed`."""

    topic: str
    source: CsvFile | LinesFile | Program
    partitions: int


def feed_settings(feed: object, *, root: Path, where: str = "config.json: feed") -> list[FeedSettings]:
    """The entries of `{topic: {"file": …, "key": …, "event_time": …, "partitions": …}}`, or of
    `{topic: {"program": …, "records": …, "seed": …, "partitions": …}}`; files are below `root`.

    Raises SettingsError with every fault found.
    """
    if not isinstance(feed, Mapping):
        raise SettingsError(f"{where} is {feed!r}; it must name topics, each with its file or program")
    faults: list[str] = []
    found = [_entry(topic, entry, root, f"{where}.{topic}", faults) for topic, entry in feed.items()]
    if faults:
        raise SettingsError(*faults)
    return [settings for settings in found if settings is not None]


def _entry(topic: str, entry: object, root: Path, where: str, faults: list[str]) -> FeedSettings | None:
    if not isinstance(entry, Mapping):
        faults.append(f"{where} is {entry!r}; it must have {', '.join(OF_A_FILE)}, or {', '.join(OF_A_PROGRAM)}")
        return None
    before = len(faults)
    program = "program" in entry and "file" not in entry
    _check_names(entry, OF_A_PROGRAM if program else OF_A_FILE, where, faults)
    _check_texts(entry, ("program",) if program else ("file", "key", "event_time"), where, faults)
    if program:
        _check_number(entry, "records", 1, where, faults)
        _check_number(entry, "seed", 0, where, faults)
    _check_number({"partitions": 1, **entry}, "partitions", 1, where, faults)
    if len(faults) > before:
        return None
    source = _program(entry, root, where, faults) if program else _file(entry, root, where, faults)
    return FeedSettings(topic, source, entry.get("partitions", 1))


def _check_names(entry: Mapping[str, Any], known: Sequence[str], where: str, faults: list[str]) -> None:
    for name in entry:
        if name == "program" and name not in known:
            faults.append(f"{where} has a file and a program; give one of them")
        elif name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            faults.append(
                f"{where}.{name} is unknown; " + (f"did you mean {near[0]}?" if near else f"use {', '.join(known)}")
            )


def _check_texts(entry: Mapping[str, Any], names: Sequence[str], where: str, faults: list[str]) -> None:
    for name in names:
        if not isinstance(entry.get(name), str) or not entry[name]:
            faults.append(
                f"{where}.{name} is {entry[name]!r}; it must be text" if name in entry else f"{where}.{name} is missing"
            )


def _check_number(entry: Mapping[str, Any], name: str, least: int, where: str, faults: list[str]) -> None:
    if name not in entry:
        faults.append(f"{where}.{name} is missing")
    elif type(entry[name]) is not int or entry[name] < least:
        faults.append(f"{where}.{name} is {entry[name]!r}; it must be a whole number from {least} on")


def _program(entry: Mapping[str, Any], root: Path, where: str, faults: list[str]) -> Program:
    file = root / entry["program"]
    if (fault := fault_of(file)) is not None:
        faults.append(f"{where}.program: {fault}")
    return Program(file, entry["records"], entry["seed"])


def _file(entry: Mapping[str, Any], root: Path, where: str, faults: list[str]) -> CsvFile:
    source = CsvFile(root / entry["file"], entry["key"], entry["event_time"])
    places = {name: f"{where}.{name}" for name in ("file", "key", "event_time")}
    faults += csv_faults(source, places)
    return source


def csv_faults(source: CsvFile, places: Mapping[str, str]) -> list[str]:
    """What is wrong with the header. `places`: where the user said `file`, `key` and `event_time`."""
    file = source.file
    try:
        names = header(file)
    except SettingsError as error:
        return [f"{places['file']}: {error}"]
    faults = []
    if len(set(names)) < len(names):
        faults.append(f"{places['file']}: {file} has a column twice: {', '.join(names)}")
    for place, name in ((places["key"], source.key), (places["event_time"], source.event_time)):
        if name is not None and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
            faults.append(f"{place}: {file} has no column {name}; {hint}")
    return faults
