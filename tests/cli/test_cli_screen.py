"""The live view and the summary as arithmetic: statuses in, rows and sentences out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormline.cli import dlq, screen, summary
from stormline.cli.rows import iso, json_line, shown, table
from stormline.cli.sections import Top
from stormline.connectors.dead_topics import Letter
from stormline.connectors.results import Row
from stormline.core.status import Status
from stormline.core.window import FAR_MS

MARCH_MS, APRIL_MS = 857_174_400_000, 859_852_800_000


def test_a_line_adds_up_the_tasks_of_a_component() -> None:
    """Rates are the growth over the time, sums are over tasks, the watermark is that of the slowest task."""
    before = {"monthly": [Status(records_in=100), Status(records_in=50)]}
    now = {
        "monthly": [
            Status(records_in=300, records_out=10, watermark_ms=APRIL_MS, open_windows=2, late=1, failed=3),
            Status(records_in=50, records_out=20, watermark_ms=MARCH_MS, open_windows=1, late=4, broken=5),
        ]
    }
    (line,) = screen.lines(before, now, 0.5)
    assert line == screen.Line("monthly", 400.0, 60.0, None, MARCH_MS, 2, 5, 3, 5, 0)


def test_a_task_that_knows_no_watermark_yet_holds_the_component_back() -> None:
    """One task of two without a watermark: the component has none."""
    (line,) = screen.lines({}, {"m": [Status(watermark_ms=MARCH_MS), Status()]}, 1.0)
    assert line.watermark_ms is None


def test_a_task_made_anew_shows_no_negative_rate() -> None:
    """Counts that start again from 0 give the rate 0, not one below it."""
    (line,) = screen.lines({"m": [Status(records_in=100)]}, {"m": [Status(records_in=10)]}, 1.0)
    assert line.in_rate == 0


def test_broken_and_dropped_are_columns_only_where_there_is_any() -> None:
    """The table has the columns broken and dropped as soon as one component has such records."""
    plain, _ = screen.cells(screen.lines({}, {"a": [Status()]}, 1.0))
    assert plain == ["component", "in/s", "out/s", "lag", "watermark", "open", "late", "failed"]
    more, rows = screen.cells(screen.lines({}, {"a": [Status(dropped=1200)], "b": [Status(broken=1)]}, 1.0))
    assert more[-2:] == ["broken", "dropped"]
    assert [row[-2:] for row in rows] == [["0", "1,200"], ["1", "0"]]


def test_plain_lines_come_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """Outside a terminal a table is printed for the first state and then for each that is a second later, with the rate
    since the table before."""
    plain = screen.PlainScreen()
    for tenth in range(25):
        plain.show({"spout": [Status(records_in=tenth * 10)]}, tenth / 10)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("after")] == ["after 0.0 s", "after 1.0 s", "after 2.0 s"]
    assert [line.split()[1] for line in printed if line.startswith("  spout")] == ["0", "100", "100"]


INPUTS = {"purchases": [], "large": ["purchases"], "monthly": ["large"], "daily": ["large"]}


def statuses(spout: Status, large: Status) -> dict[str, Sequence[Status]]:
    return {
        "purchases": [spout],
        "large": [large],
        "monthly": [Status(open_windows=0)],
        "daily": [Status(open_windows=0)],
    }


def test_the_account_of_a_whole_run_adds_up_in_one_line() -> None:
    """Read is kept and dropped and broken, with nothing else said when there is nothing else."""
    told = summary.accounts(
        statuses(
            Status(records_in=69_660, records_out=69_659, broken=1), Status(records_out=69_172, dropped=486, broken=1)
        ),
        INPUTS,
    )
    assert [account.told() for account in told] == ["69,660 read = 69,172 kept + 486 dropped + 2 broken"]


def test_what_a_worker_that_died_had_counted_is_no_negative_number() -> None:
    """Its figures are gone with it, which is told in another line."""
    parts = Status(records_in=5, records_out=7), Status(records_out=9)
    assert ["5 read = 9 kept + 0 dropped + 0 broken"] == [
        each.told() for each in summary.accounts(statuses(*parts), INPUTS)
    ]


@given(*[st.integers(0, 10**6)] * 6)
def test_nothing_disappears_from_the_account(
    kept: int, dropped: int, broken: int, replayed: int, waiting: int, lost: int
) -> None:
    """Whatever was read or read again stands on the right side under one name, once."""
    read = kept + dropped + broken + waiting + lost - replayed
    (account,) = summary.accounts(
        statuses(
            Status(records_in=read, records_out=kept + dropped + broken + lost, replayed=replayed),
            Status(records_out=kept, dropped=dropped, broken=broken),
        ),
        INPUTS,
    )
    assert (account.waiting, account.lost) == (waiting, lost)
    assert ("read again" in account.told()) == (replayed > 0)
    assert ("not sent on" in account.told()) == (waiting > 0)
    assert ("made anew" in account.told()) == (lost > 0)


def test_what_a_keyed_component_did_is_told_with_its_late_records() -> None:
    """Late and skipped records are named, and whether windows are open."""
    told = list(summary.counted({"m": [Status(records_out=5, late=2, replayed=3, open_windows=0)], "s": [Status()]}))
    assert told == ["m: 5 counted, 3 already counted before, 2 late; every window closed"]


def row(key: object, start_ms: int, amount: str) -> Row:
    values = {"purchases": 1, "amount": amount, "mean": "0.3333333333333333333333333333"}
    return Row("monthly", key, start_ms, start_ms + 1, "final", 0, values, "tumbling-1ms")


def test_the_best_window_is_that_with_the_largest_sum_and_its_best_keys_come_first() -> None:
    """April has the larger sum though March has the largest single amount; sums are exact."""
    rows = [row(1, MARCH_MS, "9.00"), row(2, MARCH_MS, "0.10"), row(1, APRIL_MS, "5.20"), row(2, APRIL_MS, "7.10")]
    best = summary.best(rows, Top("monthly", by="amount", n=1))
    assert best is not None
    assert (best.start, best.total, best.keys) == ("1997-04-01", Decimal("12.30"), 2)
    assert [each.key for each in best.rows] == [2]


def test_no_rows_and_no_numbers_have_no_best() -> None:
    """Nothing is made up where there is nothing to compare."""
    assert summary.best([], Top("monthly", by="amount")) is None
    assert summary.best([row(1, MARCH_MS, "9.00")], Top("monthly", by="colour")) is None


def test_a_table_rounds_only_quotients() -> None:
    """The mean has two places for the eye; an amount keeps every digit."""
    heading, line = table([row(4, MARCH_MS, "1.23456789")], rounded={"mean"})
    assert heading.split() == ["window", "key", "purchases", "amount", "mean", "state", "rev"]
    assert line.split() == ["1997-03-01", "4", "1", "1.23456789", "0.33", "final", "0"]


def test_a_long_value_is_cut_and_no_value_reaches_the_terminal_as_a_command() -> None:
    """A text of a million characters would make each line of a table as long; an escape would colour or clear it."""
    long = Row("monthly", "k" * 200, MARCH_MS, APRIL_MS, "final", 0, {"note": "x" * 1_000_000}, "month-UTC")
    assert all(len(line) < 300 for line in table([long]))
    assert shown("a\x1b[2J\nb") == "a\\x1b[2J\\nb"
    assert shown("grüß €") == "grüß €"


def test_a_dead_letter_reaches_no_terminal_as_a_command() -> None:
    """Neither its value nor its reason, which may hold some of it; what is no text is shown as Python writes bytes."""
    letter = Letter(
        "t.dead", 0, 0, 0, "app", "spout", "bad: \x1b[31m\nat 2", "t/0/0", 1, "", b"\x1b]0;gone\x07\xff" + b"x" * 200
    )
    _, *lines = dlq._lines([letter])
    assert lines == ["  bad: \\x1b[31m", "  at 2", "  \\x1b]0;gone\\x07\\xff" + "x" * 87 + "..."]


def test_of_several_spouts_each_account_says_whose_it_is() -> None:
    """One needs no name; five equal lines would say nothing."""
    one, other = summary.Account("large", 3, 0, 2, 1, 0, 0), summary.Account("texts", 4, 0, 4, 0, 0, 0)
    assert summary.told([one]) == ["3 read = 2 kept + 1 dropped + 0 broken"]
    assert summary.told([one, other]) == [
        "large: 3 read = 2 kept + 1 dropped + 0 broken",
        "texts: 4 read = 4 kept + 0 dropped + 0 broken",
    ]


@pytest.mark.parametrize("window", ["state", "global"])
def test_what_never_ends_is_shown_without_an_end(window: str) -> None:
    """The state of a key, and the window for all time: as a table and as JSON."""
    endless = Row("jumps", 7, 0, FAR_MS, "open", 0, {"trades": 3}, window)
    assert "7" in table([endless])[1]
    assert "-" in table([endless, row(4, MARCH_MS, "1.5")._replace(window="session-5ms")])[1]
    assert b'"end":null' in json_line(endless)


def test_a_json_line_has_iso_times_and_decimals_as_texts() -> None:
    """What `results --json` prints of a row, letter by letter."""
    assert json_line(Row("daily", None, MARCH_MS, APRIL_MS, "open", 2, {"amount": "1.10"}, "month-UTC")) == (
        b'{"component":"daily","key":null,"window":"month-UTC","start":"1997-03-01T00:00:00Z",'
        b'"end":"1997-04-01T00:00:00Z","state":"open","revision":2,"amount":"1.10"}'
    )


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "1970-01-01T00:00:00Z"), (1, "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z")]
)
def test_times_are_iso_8601_in_utc(ms: int, text: str) -> None:
    """Milliseconds appear only where there are some, also before 1970."""
    assert iso(ms) == text


def test_a_value_for_the_eye() -> None:
    """None is a dash, structures are JSON, everything else is as stored."""
    assert [shown(value) for value in (None, True, [1], "x", "1.10")] == ["-", "true", "[1]", "x", "1.10"]
