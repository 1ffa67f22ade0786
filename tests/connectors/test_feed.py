"""The feed: what a CSV file becomes in Kafka, and that each row comes there once."""

import csv
import gzip
import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import CoordinatorLoadInProgressError, KafkaConnectionError, for_code
from kafka.partitioner.default import DefaultPartitioner
from kafka_connector_parts import SOURCE, WAIT_S, Broker, broker_fixture, produce, records_of, topic_fixture

from stormline.connectors import kafka_appender
from stormline.connectors.feed import Fed, Feed
from stormline.connectors.feed_file import CsvFile, epoch_ms, fed_rows, layout
from stormline.connectors.feed_program import Program
from stormline.connectors.feed_settings import FeedSettings, feed_settings
from stormline.connectors.kafka import ensure_topic
from stormline.connectors.kafka_appender import Appender
from stormline.core.errors import ServerError, SettingsError, StateError

broker, topic = broker_fixture, topic_fixture

PURCHASES = Path(__file__).parents[2] / "data" / "cdnow.csv.gz"


def written(path: Path, *rows: list[str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def values_of(file: Path, *, key: str = "key", event_time: str = "time") -> list[str]:
    return [
        row.value.decode()
        for row in fed_rows(file, layout(file, event_time=event_time), key=key, event_time=event_time)
    ]


# The file


def test_a_purchase_becomes_json_key_and_timestamp():
    """The first row of the real data: numbers as in the file, the date as text, the key the customer, midnight UTC."""
    shape = layout(PURCHASES, event_time="date")
    first = next(fed_rows(PURCHASES, shape, key="user_id", event_time="date"))
    assert shape.rows == 69_659
    assert first == (1, b"1", b'{"date":"1997-01-01","amount":11.77,"user_id":1,"items":1}', 852_076_800_000)


def test_an_amount_is_exact_for_a_decimal_field():
    """A JSON number of the feed decodes into the very decimal that stands in the file, trailing zero included."""

    class Purchase(msgspec.Struct):
        amount: Decimal

    with gzip.open(PURCHASES, "rt") as file:
        texts = [row["amount"] for row in csv.DictReader(file)]
    shape = layout(PURCHASES, event_time="date")
    rows = fed_rows(PURCHASES, shape, key="user_id", event_time="date")
    assert [str(msgspec.json.decode(row.value, type=Purchase).amount) for row in rows] == texts


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-20", "0"], ["1", "-20", "0"]),
        (["1", "2.50", "-0.00"], ["1", "2.50", "-0.00"]),
        (["007", "12"], ['"007"', '"12"']),
        (["1.", "2"], ['"1."', '"2"']),
        (["1e3", "2"], ['"1e3"', '"2"']),
        (["+1", "2"], ['"+1"', '"2"']),
        (["NaN", "2"], ['"NaN"', '"2"']),
        (["", "2"], ["null", "2"]),
        (["", ""], ['""', '""']),
        (["", "x"], ['""', '"x"']),
        (['say "hi"', "ü\n%s"], ['"say \\"hi\\""', '"\\u00fc\\n%s"']),
        (["٣", "1"], ['"\\u0663"', '"1"']),
    ],
)
def test_the_type_of_a_column_follows_from_all_its_values(tmp_path, values, expected):
    """Numbers only if each value is one as JSON writes it, else strings; empty is null among numbers."""
    file = written(tmp_path / "f.csv", ["key", "time", "100%"], *(["k", "2020-01-01", value] for value in values))
    rows = values_of(file)
    assert rows == [f'{{"key":"k","time":"2020-01-01","100%":{value}}}' for value in expected]


@hypothesis_settings(deadline=None, max_examples=40)
@given(
    table=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")),
            st.integers(),
            st.decimals(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
    )
)
def test_every_value_survives(tmp_path_factory, table):
    """Whatever stands in the file is in the JSON: text as text, integers and decimals to the last digit."""
    texts = [(text, str(number), f"{decimal:f}") for text, number, decimal in table]
    file = tmp_path_factory.mktemp("feed") / "f.csv"
    written(file, ["key", "text", "number", "decimal", "time"], *(["k", *row, "2020-01-01"] for row in texts))
    rows = [json.loads(value, parse_float=Decimal) for value in values_of(file)]
    assert [str(row["number"]) for row in rows] == [row[1] for row in texts]
    assert [Decimal(str(row["decimal"])) for row in rows] == [Decimal(row[2]) for row in texts]
    if not all(text.lstrip("-").replace(".", "").isdecimal() or not text for text, _, _ in texts):
        assert [row["text"] for row in rows] == [row[0] for row in texts]


@given(time=st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)), hours=st.none() | st.integers(-12, 12))
def test_times_are_exact_to_the_millisecond(time, hours):
    """ISO 8601 with or without a zone; before 1970 too."""
    zone = UTC if hours is None else UTC
    text = time.isoformat() if hours is None else f"{time.isoformat()}{hours:+03d}:00"
    expected = (
        time.replace(tzinfo=zone) - timedelta(hours=hours or 0) - datetime(1970, 1, 1, tzinfo=UTC)
    ) // timedelta(milliseconds=1)
    assert epoch_ms(text) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["k", "2020-01-01"], ["k"]], "row 2 has 1 values, the header has 2"),
        ([["k", "2020-01-01"], ["k", "01.02.2020"]], "row 2 has time = '01.02.2020', which is no ISO 8601 date"),
        ([["k", ""]], "row 1 has time = ''"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_sent(tmp_path, rows, message):
    """The file, the row and what stands there."""
    file = written(tmp_path / "f.csv", ["key", "time"], *rows)
    with pytest.raises(SettingsError, match=message) as caught:
        layout(file, event_time="time")
    assert str(file) in str(caught.value)


# The settings


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


# The program

PROGRAM = """
def rows(records, seed):
    for number in range(1, records + 1):
        yield b"%d" % ((number + seed) % 40), b'{"number":%d}' % number, 1_577_836_800_000 + number
"""


def program(path: Path, text: str = PROGRAM, records: int = 2_500, seed: int = 0) -> Program:
    path.write_text(text)
    return Program(path, records, seed)


def test_a_program_is_a_source(tmp_path):
    """Its function is called with the settings; its rows are numbered from 1 on, as often as they are asked for."""
    content = program(tmp_path / "made.py", records=3, seed=5).content()
    assert content.total == 3
    for _ in range(2):
        assert list(content.rows())[1:] == [
            (2, b"7", b'{"number":2}', 1_577_836_800_002),
            (3, b"8", b'{"number":3}', 1_577_836_800_003),
        ]
        assert list(content.keys()) == [b"6", b"7", b"8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module\n" + PROGRAM, "made.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        (PROGRAM.replace("% 40", "// 0"), "made.py, line 4: ZeroDivisionError"),
        (PROGRAM.replace("b'", "'"), "made.py: TypeError: row 1 is .*; give \\(bytes, bytes, int\\)"),
        (PROGRAM.replace("records + 1", "records"), "made.py: rows gave 2 of the 3 rows that it was asked for"),
        (
            PROGRAM.replace("records + 1", "records + 2"),
            "made.py: rows gave more than the 3 rows that it was asked for",
        ),
        (PROGRAM.replace("range(1, ", "range(1, 1 or "), "made.py: rows gave 0 of the 3 rows"),
    ],
)
def test_a_program_that_fails_is_told_with_its_line(tmp_path, text, message):
    """Whatever it raises, and rows that are none, too few or too many."""
    with pytest.raises(SettingsError, match=message):
        list(program(tmp_path / "made.py", text, records=3).content().rows())


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


# The topic


def small_file(path: Path, rows: int = 2_500) -> Path:
    lines = [[str(number % 40), "2020-01-01", str(number)] for number in range(1, rows + 1)]
    return written(path, ["key", "time", "number"], *lines)


def numbers_of(records: dict[int, list]) -> dict[int, list[int]]:
    return {partition: [json.loads(record.value)["number"] for record in found] for partition, found in records.items()}


@pytest.fixture
def settings(tmp_path, topic):
    return FeedSettings(topic, CsvFile(small_file(tmp_path / "f.csv"), "key", "time"), 3)


def test_every_row_is_there_once_in_the_partition_of_its_key(broker, settings):
    """In the order of the file, where Kafka's own partitioner puts the key, with the row's number and time."""
    fed = Feed(broker.brokers, settings).run()
    records = records_of(broker, settings.topic, 3)
    assert fed == Fed(2_500, 2_500, {partition: len(found) for partition, found in records.items()})
    numbers = numbers_of(records)
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_501))
    assert all(found == sorted(found) for found in numbers.values())

    class Cluster:
        topics = staticmethod(lambda: [settings.topic])
        partitions_for_topic = available_partitions_for_topic = staticmethod(lambda _: {0, 1, 2})

    for partition, found in records.items():
        for record in found:
            assert DefaultPartitioner().partition(settings.topic, None, record.key, None, None, Cluster) == partition
            assert record.headers == [("row", str(json.loads(record.value)["number"]).encode())]
            assert record.timestamp == 1_577_836_800_000


@pytest.fixture
def made(tmp_path, topic):
    return FeedSettings(topic, program(tmp_path / "made.py"), 3)


def test_a_stopped_program_goes_on_where_it_was(broker, made):
    """Every row is there once, in the order of the program; a last feed sends nothing."""
    feed = Feed(broker.brokers, made)
    first = feed.run(lambda there, rows: feed.stop())
    assert 0 < first.sent < 2_500
    second = Feed(broker.brokers, made).run()
    assert first.sent + second.sent == 2_500
    numbers = numbers_of(records_of(broker, made.topic, 3))
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_501))
    assert all(found == sorted(found) for found in numbers.values())
    assert Feed(broker.brokers, made).run() == second._replace(sent=0)


def test_a_program_with_another_seed_is_refused(broker, made):
    """Its rows are not those in the topic."""
    Feed(broker.brokers, made).run()
    other = made._replace(source=made.source._replace(seed=1))
    with pytest.raises(StateError, match=r"does not hold the rows of .*made.py \(records 2500, seed 1\)"):
        Feed(broker.brokers, other).run()


def test_a_second_feed_sends_nothing(broker, settings):
    """And says so."""
    first = Feed(broker.brokers, settings).run()
    assert Feed(broker.brokers, settings).run() == first._replace(sent=0)


def test_rows_appended_to_the_file_are_fed_later(broker, settings):
    """Only those."""
    Feed(broker.brokers, settings).run()
    small_file(settings.source.file, 2_600)
    assert Feed(broker.brokers, settings).run().sent == 100
    numbers = numbers_of(records_of(broker, settings.topic, 3))
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_601))


def test_a_stopped_feed_goes_on_later(broker, topic):
    """`stop` ends it soon; the next one sends the rest."""
    settings = FeedSettings(topic, CsvFile(PURCHASES, "user_id", "date"), 4)
    feed = Feed(broker.brokers, settings)
    first = feed.run(lambda there, rows: feed.stop())
    assert 0 < first.sent < first.rows
    second = Feed(broker.brokers, settings).run()
    assert first.sent + second.sent == second.rows == sum(second.ends.values())


@pytest.mark.parametrize("foreign", [{}, {"headers": [("row", b"1")]}])
def test_a_topic_with_other_records_is_refused(broker, settings, foreign):
    """Nothing is sent: the feed could not tell which rows are there."""
    ensure_topic(broker.brokers, settings.topic, 3)
    produce(broker, settings.topic, 0, [b"{}"] * 3, **foreign)
    with pytest.raises(StateError, match=f"topic {settings.topic} does not hold the rows of .*f.csv and nothing else"):
        Feed(broker.brokers, settings).run()
    assert [len(found) for found in records_of(broker, settings.topic, 3).values()] == [3, 0, 0]


def test_a_topic_with_more_records_than_rows_is_refused(broker, settings):
    """The file was cut, or another one has been fed."""
    Feed(broker.brokers, settings).run()
    small_file(settings.source.file, 2_000)
    with pytest.raises(StateError, match="more records than the source has rows"):
        Feed(broker.brokers, settings).run()


def test_another_number_of_partitions_is_refused(broker, settings):
    """The rows would go to other partitions than those already there."""
    ensure_topic(broker.brokers, settings.topic, 2)
    with pytest.raises(StateError, match="has 2 partitions, not 3"):
        Feed(broker.brokers, settings).run()


def test_a_second_writer_is_noticed(broker, topic):
    """A record that someone else appends while the feed runs ends it, with the offset where it showed."""
    settings = FeedSettings(topic, CsvFile(PURCHASES, "user_id", "date"), 4)
    producer = KafkaProducer(bootstrap_servers=broker.address)

    def intrude(there, rows):
        for partition in range(4):
            producer.send(topic, value=b"{}", partition=partition).get(WAIT_S)

    with pytest.raises(ServerError, match="someone else writes to this topic"):
        Feed(broker.brokers, settings).run(intrude)
    producer.close()


def test_a_batch_whose_answer_is_lost_is_not_doubled(broker, settings, monkeypatch):
    """The feed does not know whether the broker has it, and looks: only what is not there is sent again."""
    send, calls = Appender._send, []

    async def send_and_forget(appender, partition, batch):
        calls.append(batch)
        number = len(calls)  # others are sent while this one waits
        if number == 1:
            raise KafkaConnectionError("the batch is lost")
        offset = await send(appender, partition, batch)
        if number == 3:
            raise KafkaConnectionError("the answer is lost")
        return offset

    monkeypatch.setattr(Appender, "_send", send_and_forget)
    assert Feed(broker.brokers, settings).run().sent == 2_500
    assert len(calls) == len(set(calls)) + 1
    numbers = numbers_of(records_of(broker, settings.topic, 3))
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_501))


def test_a_broker_that_has_just_started_is_waited_for(broker, settings, monkeypatch):
    """A real one has no producer ids to give for some seconds and says so: the feed asks again."""
    answers = [CoordinatorLoadInProgressError] * 2
    monkeypatch.setattr(kafka_appender, "for_code", lambda code: answers.pop() if answers else for_code(code))
    assert Feed(broker.brokers, settings).run().sent == 2_500
    assert not answers


def test_a_fed_topic_keeps_historic_records(broker, settings):
    """Its retention is not Kafka's week, by which records of 1997 would go within minutes."""
    Feed(broker.brokers, settings).run()
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic)], config_filter="all")
    admin.close()
    assert "-1" == described["topic"][settings.topic]["retention.ms"]["value"]


@pytest.fixture
def purchases(tmp_path, topic):
    """The first 20,000 rows of the real data."""
    with gzip.open(PURCHASES, "rt") as file:
        (tmp_path / "purchases.csv").write_text("".join(line for line, _ in zip(file, range(20_001), strict=False)))
    return FeedSettings(topic, CsvFile(tmp_path / "purchases.csv", "user_id", "date"), 4)


def check_all_there_once(broker, settings):
    """Every row once, with its values, and in each partition in the order of the file."""
    found = []
    for records in records_of(broker, settings.topic, 4).values():
        rows = [int(record.headers[0][1]) for record in records]
        assert rows == sorted(set(rows))
        found += [(row, record.value) for row, record in zip(rows, records, strict=True)]
    found.sort()
    assert [row for row, _ in found] == list(range(1, 20_001))
    values = [json.loads(value, parse_float=str) for _, value in found]
    with settings.source.file.open() as file:
        expected = [(row["user_id"], row["date"], row["amount"]) for row in csv.DictReader(file)]
    assert [(str(v["user_id"]), v["date"], v["amount"]) for v in values] == expected


def test_a_feed_that_is_killed_repeats_and_loses_nothing(broker, purchases):
    """SIGKILL after a random number of batches, four times over; then it may finish."""
    chance = random.Random(1)
    program = [sys.executable, str(Path(__file__).with_name("feeding.py")), str(SOURCE)]
    command = [*program, broker.address, str(purchases.source.file), purchases.topic]
    for batches in [chance.randint(1, 4) for _ in range(4)] + [None]:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for number, _ in enumerate(process.stdout, 1):
                if number == batches:
                    process.kill()
                    break
            else:
                assert batches is None, "it finished before it was killed"
    check_all_there_once(broker, purchases)


@pytest.mark.parametrize("seed", range(2))
def test_a_broker_that_is_killed_while_it_is_fed_doubles_and_loses_nothing(tmp_path, purchases, seed):
    """SIGKILL with batches on their way, three times; the same feed goes on when it is back."""
    broker = Broker(tmp_path / "kafka")
    moments = set(random.Random(seed).sample(range(1, 17), 3))
    calls = iter(range(1, 1_000))

    def kill_sometimes(there, rows):
        if next(calls) in moments:
            broker.kill()
            broker.start()

    fed = Feed(broker.brokers, purchases).run(kill_sometimes)
    assert fed.sent == fed.rows == 20_000
    check_all_there_once(broker, purchases)
    broker.kill()
