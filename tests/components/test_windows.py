"""Each kind of window on one bolt: what is shown, when it is final, what is sent, what is late."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stormline import (
    Count,
    Max,
    Record,
    SettingsError,
    Sum,
    WindowBolt,
    calendar,
    count_window,
    every,
    global_window,
    session,
    sliding,
    tumbling,
)
from stormline.testing import Driver, Sent


class Sale(Record):
    at: int
    amount: int = 1
    user: str = "ann"


def bolt(window: Any, **settings: Any) -> type:
    """A class in this module, where a worker looks for it."""
    settings = {"key": "user", "window": window, "aggregate": {"n": Count()}, "__module__": __name__, **settings}
    made = globals()["Sales"] = type("Sales", (WindowBolt,), settings)
    return made


def driver(window: Any, **settings: Any) -> Driver:
    return Driver(bolt(window, **settings), schema=Sale, event_time="at", out_of_order="100ms")


def shown(tried: Driver) -> list[tuple[Any, ...]]:
    """(start, end, state, revision, n) of each row."""
    return [(r.start_ms, r.end_ms, r.state, r.revision, r.values["n"]) for r in tried.results()]


def sent(tried: Driver, stream: str) -> list[dict[str, Any]]:
    """What was sent on a stream, each identity once; what came again must be the same."""
    found: dict[str, dict[str, Any]] = {}
    for each in tried.out:
        assert isinstance(each, Sent)
        if each.stream == stream:
            values = dict(each.values)
            assert values == found.setdefault(values["id"], values)
    return list(found.values())


def feed(tried: Driver, *times: int) -> None:
    for at in times:
        tried.send(Sale(at))
    tried.advance("1s")


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


def test_updates_are_sent_once_a_flush_and_key() -> None:
    """
    Without a trigger: each change, as of the flush that made it durable.
    """
    tried = driver(tumbling("10ms"))
    for at in (1, 2, 3):
        tried.send(Sale(at), run=False)
    tried.run()
    feed(tried)
    feed(tried, 4)
    assert [3, 4] == [update["n"] for update in sent(tried, "updates")]


def test_finals_are_sent_once_closed_and_again_when_revised() -> None:
    """
    The stream `final` has a row for each key of a window, and one more for each revision.
    """
    tried = driver(tumbling("10ms"), allowed_lateness="1s")
    tried.send(Sale(1, user="bob"))
    feed(tried, 2, 3, 200)
    feed(tried, 4)
    finals = [(f["key"], f["start_ms"], f["revision"], f["n"]) for f in sent(tried, "final")]
    assert [("ann", 0, 0, 2), ("ann", 0, 1, 3), ("bob", 0, 0, 1)] == sorted(finals)


def test_what_is_late_is_sent_and_kept_with_its_origin() -> None:
    """
    After the lateness a record is in no result, but on the stream `late` and in the list.
    """
    tried = driver(tumbling("10ms"))
    feed(tried, 1, 200, 300)
    feed(tried, 5)
    (late,) = sent(tried, "late")
    assert ("ann", 5, 3, '{"at":5,"amount":1,"user":"ann"}') == (
        late["key"],
        late["time_ms"],
        late["offset"],
        late["record"],
    )
    assert [3] == [record.offset for record in tried.late()]


def test_an_alert_is_sent_once_whatever_dies() -> None:
    """
    A condition that holds: one update a key and window, with the same identity if it comes again after a crash.
    """
    tried = driver(tumbling("10ms"), trigger=lambda self, result: result.n >= 2)
    feed(tried, 1, 2)
    tried.crash()
    feed(tried, 3)
    tried.kill("bolt")
    feed(tried, 4)
    assert [2] == [update["n"] for update in sent(tried, "updates")]
    assert [(0, 10, "open", 0, 4)] == shown(tried)


def test_an_output_whose_flush_was_lost_is_not_sent_twice() -> None:
    """
    A flush that never arrives, or whose answer is lost, goes out again with the same outputs.
    """
    for fault in ("lose_next_flush", "lose_next_reply"):
        tried = driver(tumbling("10ms"), trigger=lambda self, result: result.n >= 2)
        getattr(tried, fault)()
        feed(tried, 1, 2)
        tried.advance("5s")
        assert [2] == [update["n"] for update in sent(tried, "updates")]


def test_an_output_that_did_not_arrive_comes_again() -> None:
    """
    The process dies between the flush and the emit: the next one sends what the store holds.
    """
    tried = driver(tumbling("10ms"), trigger=lambda self, result: True)
    tried.send(Sale(1))
    before = len(tried.out)
    while not any(slot.outputs for slot in tried.store.slots.values()):
        tried.advance("5ms")
    assert before == len(tried.out)
    tried.crash()
    tried.advance("2s")
    assert [1] == [update["n"] for update in sent(tried, "updates")]
    tried.advance("2s")
    assert not any(slot.outputs for slot in tried.store.slots.values())


def test_a_trigger_by_event_time_sends_what_has_changed() -> None:
    """
    Each time the watermark passes a multiple of the period.
    """
    tried = driver(tumbling("10s"), trigger=every("1s"))
    feed(tried, 100, 200)
    assert [] == sent(tried, "updates")
    feed(tried, 1300)
    assert [2] == [u["n"] for u in sent(tried, "updates")] or [3] == [u["n"] for u in sent(tried, "updates")]


def test_a_trigger_by_wall_time_sends_what_has_changed() -> None:
    """
    Each time the clock passes a multiple of the period, and only if something has changed.
    """
    tried = driver(tumbling("10s"), trigger=every("1m", time="processing"))
    feed(tried, 100, 200)
    tried.advance("5m")
    assert [2] == [update["n"] for update in sent(tried, "updates")]


def test_results_are_kept_as_long_as_is_said() -> None:
    """
    A window that has been done for so long is gone at the next flush of its slot.
    """
    tried = driver(tumbling("10ms"), keep="1h")
    feed(tried, 1, 200)
    tried.advance("2h")
    feed(tried, 210)
    assert [200, 210] == [row[0] for row in shown(tried)]


@pytest.mark.parametrize("window", [tumbling("10ms"), sliding("10ms", "5ms"), session("5ms"), count_window(2)])
def test_a_window_without_an_alert_leaves_nothing(window: Any) -> None:
    """
    Not an entry in the index either: most windows have none. That of the alert stays.
    """
    tried = driver(
        window, aggregate={"most": Max("amount"), "n": Count()}, trigger=lambda self, result: result.most > 99
    )
    for at in range(0, 4000, 5):
        tried.send(Sale(at, 100 if at == 2000 else 1, f"user {at % 3}"), run=False)
    tried.end()
    left = [place for slot in tried.store.slots.values() for place in slot.windows if not place[0].endswith("#panes")]
    alerts = {("sliding-10ms-5ms"): 2}.get(window.name, 1)
    assert alerts == len(tried.results())
    assert len(left) <= alerts + 3, left


def test_state_is_flat_in_the_length_of_the_stream() -> None:
    """
    With `keep`, a thousand windows leave no more in the store than a few.
    """
    for window in (tumbling("10ms"), sliding("10ms", "5ms"), session("5ms")):
        tried = driver(window, keep="1s")
        sizes = []
        for start in range(0, 4000, 1000):
            for at in range(start, start + 1000, 20):
                tried.send(Sale(at))
            tried.advance("5s")
            tried.send(Sale(start + 1000))
            tried.advance("5s")
            sizes.append(sum(len(slot.windows) for slot in tried.store.slots.values()))
        assert max(sizes[1:]) <= sizes[0] + 3, (window.name, sizes)


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


class Touchy:
    """The sum, which cannot be merged with more than a hundred."""

    def __init__(self, field: str) -> None:
        self.field = field

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, sale: Any) -> int:
        return accumulator + int(sale.amount)

    def merge(self, left: int, right: int) -> int:
        if left > 100 or right > 100:
            raise ValueError("too much to merge")
        return left + right

    def result(self, accumulator: int) -> int:
        return accumulator


def test_a_merge_that_raises_costs_one_key_its_row() -> None:
    """
    At a flush no record is to blame: a dead letter names key and window, other keys have their rows, nothing stops.
    """
    tried = driver(sliding("20ms", "10ms"), aggregate={"n": Touchy("amount")})
    for user, amount in (("ann", 5), ("bob", 200), ("cyd", 7)):
        tried.send(Sale(5, amount, user))
        tried.send(Sale(15, 1, user))
    tried.end()
    rows = {(row.key, row.start_ms): row.values["n"] for row in tried.results()}
    assert {("ann", 0): 6, ("cyd", 0): 8} == {place: n for place, n in rows.items() if place[1] == 0}
    letters = [str(letter) for letter in tried.dead_letters("bolt")]
    assert letters
    assert all("too much to merge; it was merge, for the window" in letter for letter in letters)
    assert all('key "bob"' in letter for letter in letters)


def test_a_trigger_by_time_leaves_out_a_key_whose_merge_raises() -> None:
    """
    By then the row that was to be sent cannot be put together any more; others are sent.
    """
    settings: dict[str, Any] = {"trigger": every("1m", time="processing"), "aggregate": {"n": Touchy("amount")}}
    tried = driver(sliding("20ms", "10ms"), **settings)
    tried.send(Sale(15, 7, "bob"))
    feed(tried, 15)
    tried.advance("58990ms")
    tried.send(Sale(5, 200))  # the minute is over before the next flush
    tried.advance("1m")
    assert {"bob": 7} == {update["key"]: update["n"] for update in sent(tried, "updates")}


def test_a_session_whose_merge_raises_sets_the_record_aside() -> None:
    """
    The record that would join two sessions is broken; the two stay as they were.
    """
    tried = driver(session("10ms"), aggregate={"n": Touchy("amount")})
    for at, amount in ((0, 200), (15, 3), (8, 1)):
        tried.send(Sale(at, amount))
    tried.end()
    assert [(0, 200), (15, 3)] == [(row.start_ms, row.values["n"]) for row in tried.results()]
    assert 1 == len(tried.dead_letters())
