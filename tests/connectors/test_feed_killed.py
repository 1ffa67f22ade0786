"""A feed whose process or broker is killed repeats and loses nothing."""

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from feed_parts import PURCHASES
from kafka_connector_parts import SOURCE, Broker, broker_fixture, records_of, topic_fixture

from stormline.connectors.feed import Feed
from stormline.connectors.feed_file import CsvFile
from stormline.connectors.feed_settings import FeedSettings

broker, topic = broker_fixture, topic_fixture


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
