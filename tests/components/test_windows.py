"""Each kind of window on one bolt: what is in it, when it is final, and what makes no window."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from window_parts import Sale, bolt, driver, feed, sent, shown

from stormline import (
    Count,
    SettingsError,
    Sum,
    calendar,
    count_window,
    every,
    global_window,
    session,
    sliding,
    tumbling,
)


def test_a_sliding_window_has_all_records_of_its_span() -> None:
    """
    Ten long, every five: the row of the window that ends next is live, the others come when they close.
    """
    tried = driver(sliding("10ms", "5ms"))
    feed(tried, 1, 7, 8)
    assert [(-5, 5, "open", 0, 1), (0, 10, "open", 0, 3)] == shown(tried)

    tried.end()
    assert [(-5, 5, "final", 0, 1), (0, 10, "final", 0, 3), (5, 15, "final", 0, 2)] == shown(tried)


def test_a_sliding_window_with_an_offset_begins_there() -> None:
    """
    Multiples of the slide, moved on.
    """
    tried = driver(sliding("4ms", "4ms", offset="1ms"))
    feed(tried, 0, 1, 5)
    tried.end()
    assert [(-3, 1), (1, 5), (5, 9)] == [row[:2] for row in shown(tried)]


def test_a_late_record_is_in_all_sliding_windows_that_were_closed_without_it() -> None:
    """
    Within the lateness, the first record of its slot: each window with its pane is final by now, and has its row.
    """
    tried = driver(sliding("10ms", "5ms"), allowed_lateness="1s")
    tried.send(Sale(200, user="bob"))
    feed(tried)
    feed(tried, 1)
    assert [(-5, 5, "final", 0, 1), (0, 10, "final", 0, 1)] == shown(tried)[:2]
    tried.end()
    assert [(-5, 5, "final", 0, 1), (0, 10, "final", 0, 1)] == shown(tried)[:2]


def test_a_session_grows_and_two_become_one() -> None:
    """
    A record between two sessions, less than the gap from both, makes them one; a record a whole gap away does not.
    """
    tried = driver(session("10ms"))
    feed(tried, 0, 15)
    assert [(0, 10, "open", 0, 1), (15, 25, "open", 0, 1)] == shown(tried)

    feed(tried, 8, 35)
    assert [(0, 25, "open", 0, 3), (35, 45, "open", 0, 1)] == shown(tried)


def test_a_record_a_whole_gap_before_a_session_has_its_own() -> None:
    """
    As one a whole gap behind it has: a session is [first, last + gap).
    """
    tried = driver(session("10ms"))
    feed(tried, 20, 10)
    assert [(10, 20), (20, 30)] == [row[:2] for row in shown(tried)]


def test_tumbling_windows_begin_at_their_offset() -> None:
    """
    Multiples of the size, moved on.
    """
    tried = driver(tumbling("10ms", offset="13ms"))
    feed(tried, 2, 3, 13)
    assert [(-7, 3), (3, 13), (13, 23)] == [row[:2] for row in shown(tried)]


def test_a_late_record_joins_two_final_sessions() -> None:
    """
    Within the lateness: one session is left, revised, and its row is the only one.
    """
    tried = driver(session("10ms"), allowed_lateness="1s")
    feed(tried, 0, 15, 200)
    assert [(0, 10, "final", 0, 1), (15, 25, "final", 0, 1), (200, 210, "open", 0, 1)] == shown(tried)

    feed(tried, 7)
    assert [(0, 25, "final", 1, 3), (200, 210, "open", 0, 1)] == shown(tried)
    tried.end()
    finals = [(f["start_ms"], f["end_ms"], f["revision"], f["n"]) for f in sent(tried, "final")]
    assert [(0, 10, 0, 1), (15, 25, 0, 1), (0, 25, 1, 3), (200, 210, 0, 1)] == finals


def test_count_windows_close_by_number() -> None:
    """
    Every three records of a key are a window; the fourth begins the next.
    """
    tried = driver(count_window(3))
    feed(tried, 5, 1, 9, 7)
    assert [(1, 10, "final", 0, 3), (7, 8, "open", 0, 1)] == shown(tried)
    tried.crash()
    feed(tried, 8, 6)
    assert [(1, 10, "final", 0, 3), (6, 9, "final", 0, 3)] == shown(tried)


def test_a_sliding_count_window_holds_the_last_records() -> None:
    """
    The last four at each second one.
    """
    tried = driver(count_window(4, 2), aggregate={"n": Count(), "sum": Sum("at")})
    feed(tried, 1, 2, 3, 4, 5)
    rows = [(row.values["n"], row.values["sum"], row.state) for row in tried.results()]
    assert [(2, 3, "final"), (4, 10, "final"), (3, 12, "open")] == sorted(rows, key=lambda row: row[1])


def test_the_global_window_never_closes() -> None:
    """
    It keeps counting; its trigger says when its result is sent.
    """
    tried = driver(global_window(), trigger=every(records=2))
    feed(tried, 1, 2, 3)
    tried.crash()
    feed(tried, 4, 5)
    assert [("open", 5)] == [(row[2], row[4]) for row in shown(tried)]
    assert [2, 4] == [update["n"] for update in sent(tried, "updates")]
    tried.end()
    assert [("open", 5)] == [(row[2], row[4]) for row in shown(tried)]


def test_several_windows_on_one_bolt_count_each_record_each() -> None:
    """
    The aggregates are computed for every kind of window, and told apart by its name.
    """
    tried = driver([tumbling("10ms"), session("3ms")])
    feed(tried, 1, 2, 8)
    tried.end()
    rows = [(row.window, row.start_ms, row.values["n"]) for row in tried.results()]
    assert [("session-3ms", 1, 2), ("session-3ms", 8, 1), ("tumbling-10ms", 0, 3)] == sorted(rows)


def test_a_record_that_breaks_the_second_window_is_in_none() -> None:
    """
    All windows of a bolt count a record, or none does.
    """

    class Fussy(Sum):
        def add(self, accumulator: Any, value: Any) -> Any:
            if accumulator is not None and accumulator + value > 3:
                raise ValueError("too much")
            return super().add(accumulator, value)

    windows = [sliding("1ms", "1ms"), session("2ms"), global_window(), tumbling("10ms")]
    tried = driver(windows, aggregate={"n": Count(), "sum": Fussy("at")})
    feed(tried, 1, 2, 3)
    rows = [(row.window, row.values["n"]) for row in tried.results()]
    assert [("global", 2), ("session-2ms", 2), *[("sliding-1ms-1ms", 1)] * 2, ("tumbling-10ms", 2)] == sorted(rows)
    assert 1 == len(tried.dead_letters())


DAYS = [
    ("2026-03-28T22:59", "2026-03-28T23:00", 23),
    ("2026-10-24T21:59", "2026-10-24T22:00", 25),
]


@pytest.mark.parametrize(("before", "start", "hours"), DAYS)
def test_a_day_is_as_long_as_the_clocks_make_it(before: str, start: str, hours: int) -> None:
    """
    In Berlin the day on which summer time begins has 23 hours, the one on which it ends 25.
    """
    ms = [int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) for text in (before, start)]
    tried = driver(calendar("day", tz="Europe/Berlin"))
    feed(tried, *ms)
    assert [ms[1], ms[1] + hours * 3_600_000] == list(shown(tried)[-1][:2])


def test_by_processing_time_a_window_closes_by_the_clock() -> None:
    """
    The time of a record is that of its arrival, whatever it says itself; after a restart the same.
    """
    tried = driver(tumbling("10s"), time="processing")
    began_ms = tried.clock.now_ms()
    tried.send(Sale(5))
    tried.advance("3s")
    assert ["open"] == [row[2] for row in shown(tried)]
    tried.crash()
    tried.advance("10s")
    rows = shown(tried)
    assert [("final", 1)] == [(row[2], row[4]) for row in rows]
    assert rows[0][0] <= began_ms < rows[0][1]


def test_records_in_the_gaps_between_windows_are_late() -> None:
    """
    With `gaps=True` a record may be in no window at all; it is not lost silently.
    """
    tried = driver(sliding("2ms", "10ms", gaps=True))
    feed(tried, 1, 5)
    assert 1 == len(tried.late())
    tried.end()
    assert [(0, 2, "final", 0, 1)] == shown(tried)


BAD: list[tuple[Any, str]] = [
    (lambda: tumbling("0s"), "a window cannot have the size 0"),
    (lambda: sliding("1m", "5m"), "say gaps=True"),
    (lambda: session("0ms"), "a window cannot have the gap 0"),
    (lambda: calendar("day", tz="Europe/Atlantis"), "is no time zone"),
    (lambda: count_window(0), "whole number above 0"),
    (lambda: count_window(5, 2), "multiple of its slide"),
    (lambda: every(), "say how often"),
    (lambda: every("1m", records=5), "say how often"),
    (lambda: every(timedelta(0)), "a period cannot be 0"),
    (lambda: bolt(tumbling("1m"), time="wall"), 'give "event" or "processing"'),
    (lambda: bolt([tumbling("1m"), tumbling("1m")]), "is in the list twice"),
    (lambda: driver(tumbling("1m"), allowed_lateness="2d", keep="1d"), "may be revised for 2d"),
    (lambda: bolt(tumbling("1m"), trigger=3), "every(...)"),
    (lambda: driver([tumbling("1m"), sliding("1m", "1s")], trigger=every(records=5)), "is not for sliding windows"),
]


@pytest.mark.parametrize(("make", "told"), BAD)
def test_what_makes_no_window_is_told(make: Any, told: str) -> None:
    """
    When it is made, with what to do.
    """
    with pytest.raises((ValueError, SettingsError)) as caught:
        make()
    assert told in str(caught.value)
