"""The feeds of a configuration, files and programs: all faults are told at once, before anything is fed."""

import pytest
from feed_parts import PURCHASES, written

from stormline.connectors.feed_file import CsvFile
from stormline.connectors.feed_program import Program
from stormline.connectors.feed_settings import FeedSettings, feed_settings
from stormline.core.errors import SettingsError


def test_settings_are_read_from_the_configuration():
    """Files are below the project's root."""
    entry = {"file": "data/cdnow.csv.gz", "key": "user_id", "event_time": "date", "partitions": 4}
    root = PURCHASES.parents[1]
    assert feed_settings({"purchases": entry}, root=root) == [
        FeedSettings("purchases", CsvFile(PURCHASES, "user_id", "date"), 4)
    ]


def test_all_faults_are_told_at_once(tmp_path):
    """Unknown names with what was meant, missing ones, wrong types, files and columns that are not there."""
    written(tmp_path / "f.csv", ["user_id", "date"])
    (tmp_path / "bad.csv.gz").write_bytes(b"no gzip")
    feed = {
        "typo": {"fil": "f.csv", "key": "user_id", "event_time": "date"},
        "types": {"file": 3, "key": "user_id", "event_time": "date", "partitions": True},
        "columns": {"file": "f.csv", "key": "userid", "event_time": "x"},
        "absent": {"file": "g.csv", "key": "user_id", "event_time": "date"},
        "broken": {"file": "bad.csv.gz", "key": "user_id", "event_time": "date"},
        "flat": "f.csv",
    }
    with pytest.raises(SettingsError) as caught:
        feed_settings(feed, root=tmp_path)
    faults = caught.value.faults
    for part in [
        "config.json: feed.typo.fil is unknown; did you mean file?",
        "feed.typo.file is missing",
        "feed.types.file is 3; it must be text",
        "feed.types.partitions is True; it must be a whole number from 1 on",
        "feed.columns.key: " + f"{tmp_path / 'f.csv'} has no column userid; did you mean user_id?",
        "has no column x; it has user_id, date",
        "feed.absent.file: " + f"{tmp_path / 'g.csv'} cannot be read",
        "feed.broken.file: ",
        "feed.flat is 'f.csv'; it must have file, key, event_time, partitions, or program, records, seed, partitions",
    ]:
        assert sum(part in fault for fault in faults) == 1, (part, faults)
    assert len(faults) == 9


def test_a_program_is_read_from_the_configuration():
    """The project's own trades."""
    entry = {"program": "data/trades.py", "records": 10, "seed": 7, "partitions": 4}
    root = PURCHASES.parents[1]
    assert feed_settings({"trades": entry}, root=root) == [
        FeedSettings("trades", Program(root / "data" / "trades.py", 10, 7), 4)
    ]


def test_all_faults_of_programs_are_told_at_once(tmp_path):
    """What is missing, of a wrong kind, unknown, not there, no Python, without the function; nothing is run for it."""
    (tmp_path / "broken.py").write_text("def rows(:")
    (tmp_path / "empty.py").write_text("raise SystemExit")
    good = {"records": 1, "seed": 0}
    feed = {
        "missing": {"program": "made.py"},
        "kinds": {"program": 3, "records": 0, "seed": True, "partitions": "4"},
        "names": {"program": "made.py", **good, "seeds": 3},
        "two": {"program": "made.py", "file": "f.csv", "key": "k", "event_time": "t"},
        "absent": {"program": "made.py", **good},
        "broken": {"program": "broken.py", **good},
        "empty": {"program": "empty.py", **good},
    }
    with pytest.raises(SettingsError) as caught:
        feed_settings(feed, root=tmp_path)
    faults = caught.value.faults
    for part in [
        "feed.missing.records is missing",
        "feed.missing.seed is missing",
        "feed.kinds.program is 3; it must be text",
        "feed.kinds.records is 0; it must be a whole number from 1 on",
        "feed.kinds.seed is True; it must be a whole number from 0 on",
        "feed.kinds.partitions is '4'; it must be a whole number from 1 on",
        "feed.names.seeds is unknown; did you mean seed?",
        "feed.two has a file and a program; give one of them",
        f"feed.absent.program: {tmp_path / 'made.py'} cannot be read",
        "broken.py, line 1: SyntaxError",
        "empty.py has no function rows(records, seed)",
    ]:
        assert sum(part in fault for fault in faults) == 1, (part, faults)
    assert len(faults) == 11
