"""A program as the source of a feed: its rows, its faults, and that each row comes there once."""

import pytest
from feed_parts import PROGRAM, numbers_of, program
from kafka_connector_parts import broker_fixture, records_of, topic_fixture

from stormline.connectors.feed import Feed
from stormline.connectors.feed_settings import FeedSettings
from stormline.core.errors import SettingsError, StateError

broker, topic = broker_fixture, topic_fixture


def test_a_program_is_a_source(tmp_path):
    """Its function is called with the settings; its rows are numbered from 1 on, as often as they are asked for."""
    content = program(tmp_path / "made.py", records=3, seed=5).content()
    assert content.total == 3
    for _ in range(2):
        assert list(content.rows())[1:] == [
            (2, b"7", b'{"number":2}', 1_577_836_800_002),
            (3, b"8", b'{"number":3}', 1_577_836_800_003),
        ]


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


def test_a_program_that_gives_other_values_is_refused(broker, made):
    """Its keys, times and the number of its rows are as before."""
    Feed(broker.brokers, made).run()
    made.source.file.write_text(PROGRAM.replace('"number"', '"n"'))
    with pytest.raises(StateError, match='its value there is {"number":[0-9]+}, by the source {"n":[0-9]+}'):
        Feed(broker.brokers, made).run()
