"""Feeds of JSON lines, and of rows without a key or a time."""

import gzip
import time

import pytest
from kafka_connector_parts import broker_fixture, records_of, topic_fixture

from stormline.connectors.feed import Fed, Feed
from stormline.connectors.feed_file import CsvFile
from stormline.connectors.feed_lines import LinesFile
from stormline.connectors.feed_settings import FeedSettings
from stormline.core.errors import SettingsError

broker, topic = broker_fixture, topic_fixture


def lines(path, *texts):
    data = "\n".join(texts).encode()
    (gzip.open if path.suffix == ".gz" else open)(path, "wb").write(data)
    return path


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz"])
def test_a_line_is_fed_as_it_stands(tmp_path, name):
    """The bytes of the line, its key without quotes or digit for digit, its time; empty lines are none."""
    texts = [
        '{"k":"jü", "at":"2020-01-01", "x":1.10}',
        "",
        '  {"k":1.50,"at":1577836800001}\r',
        '{"k":true,"at":-5}',
        "",
    ]
    file = lines(tmp_path / name, *texts)
    content = LinesFile(file, "k", "at").content()
    assert content.total == 3
    assert [tuple(row) for row in content.rows()] == [
        (1, "jü".encode(), texts[0].encode(), 1_577_836_800_000),
        (2, b"1.50", b'{"k":1.50,"at":1577836800001}', 1_577_836_800_001),
        (3, b"true", b'{"k":true,"at":-5}', -5),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 3: Input data was truncated"),
        ("[1]", "line 3: Expected `object`, got `array`"),
        ('{"at":1}', "line 3: the field k is missing; it has at"),
        ('{"k":null,"at":1}', "line 3: the field k is null"),
        ('{"k":{"a":1},"at":1}', 'line 3: the field k is {"a":1}'),
        ('{"k":"a","at":"soon"}', "line 3: at is 'soon', which is no ISO 8601 date"),
        ('{"k":"a","at":1.5}', "line 3: at is 1.5, which is no whole number of ms"),
        ('{"k":"a","at":1,"x":"\udcff"}', "line 3: 'utf-8' codec can't decode"),
    ],
)
def test_a_line_that_will_not_do_is_named(tmp_path, line, told):
    """File, line and what is wrong, before anything is fed; empty lines count."""
    file = tmp_path / "f.jsonl"
    file.write_bytes(f'{{"k":"a","at":1}}\n\n{line}\n'.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError) as caught:
        LinesFile(file, "k", "at").content()
    assert f"{file}: {told}" in str(caught.value)


def test_a_file_that_is_not_there_or_torn_is_told(tmp_path):
    """With its name."""
    with pytest.raises(SettingsError, match="cannot be read: .*No such file"):
        LinesFile(tmp_path / "f.jsonl", None, None).content()
    torn = lines(tmp_path / "f.jsonl.gz", *(f'{{"n":{n}}}' for n in range(9_000)))
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(SettingsError, match="cannot be read"):
        LinesFile(torn, None, None).content()


def test_a_quote_that_is_never_closed_is_told_with_its_line(tmp_path):
    """A CSV row that cannot be read: the line where the file ends."""
    file = tmp_path / "f.csv"
    file.write_text('a,b\n1,2\n3,"4\n')
    with pytest.raises(SettingsError, match="line 3: unexpected end of data"):
        CsvFile(file, None, None).content()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_without_key_and_time_go_round_and_are_fed_once(broker, topic, tmp_path, kind):
    """In turn to the partitions, with the time of being fed; a feed that was stopped goes on with the next row."""
    texts = [f'{{"n":{n}}}' for n in range(1, 2_501)]
    file = tmp_path / f"f.{kind}"
    file.write_text("\n".join(texts) if kind == "jsonl" else "n\n" + "\n".join(map(str, range(1, 2_501))))
    source = LinesFile(file, None, None) if kind == "jsonl" else CsvFile(file, None, None)
    settings = FeedSettings(topic, source, 3)
    before_ms = time.time_ns() // 1_000_000
    feed = Feed(broker.brokers, settings, rate=10_000)
    first = feed.run(lambda there, rows: feed.stop())
    assert 0 < first.sent < 2_500
    second = Feed(broker.brokers, settings).run()
    assert first.sent + second.sent == 2_500
    assert Feed(broker.brokers, settings).run() == Fed(2_500, 0, second.ends)
    records = records_of(broker, topic, 3)
    for number, found in records.items():
        assert [record.value for record in found] == [b'{"n":%d}' % n for n in range(1, 2_501) if n % 3 == number]
        assert all(record.key is None for record in found)
        assert all(before_ms <= record.timestamp <= time.time_ns() // 1_000_000 for record in found)


def test_a_rate_is_kept(broker, topic, tmp_path):
    """1,600 rows at 1,000 a second take 1.6 s at least, and come all along, not at the end."""
    file = tmp_path / "f.jsonl"
    file.write_text("\n".join(f'{{"n":{n}}}' for n in range(1_600)))
    told = []
    began_s = time.monotonic()
    Feed(broker.brokers, FeedSettings(topic, LinesFile(file, None, None), 2), rate=1_000).run(
        lambda there, rows: told.append((there, time.monotonic() - began_s))
    )
    assert time.monotonic() - began_s >= 1.6
    assert [there for there, _ in told if there % 100 == 0] == list(range(100, 1_700, 100))
    assert told[-1][1] - told[0][1] >= 0.75  # of 1.5, less by what the first ones come late
