"""What a CSV file becomes in Kafka: key, value and time of each row, to the last digit."""

import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from feed_parts import PURCHASES, written
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stormline.connectors.feed_file import epoch_ms, fed_rows, layout
from stormline.core.errors import SettingsError


def values_of(file: Path, *, key: str = "key", event_time: str = "time") -> list[str]:
    return [
        row.value.decode()
        for row in fed_rows(file, layout(file, event_time=event_time), key=key, event_time=event_time)
    ]


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
