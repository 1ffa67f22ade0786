"""What a window sends on, and when: updates, finals, late records, alerts; each once, whatever dies."""

from window_parts import Sale, driver, feed, sent, shown

from stormline import every, tumbling


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
