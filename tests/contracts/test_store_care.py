"""Starts that come no further are counted, what was out alone when its task died is named, and what is passed over."""

from store_parts import GRAPH, Ask

from stormline.connectors.progress import pass_over, progress
from stormline.connectors.redis import begin_run, connect
from stormline.core import report
from stormline.core.report import PartitionReport
from stormline.core.requests import Enter, Entered, Mark, Report, Skips, Tried, Try

STANDING = PartitionReport(
    spout="s",
    task=1,
    at_ms=5,
    frontier=7,
    position=9,
    log_end=11,
    watermark_ms=None,
    idle=False,
    held_by=(7, 8),
    failures=2,
)


def test_starts_without_progress_are_counted_until_a_partition_gets_on(ask: Ask) -> None:
    """
    Only of partitions that have something to read; after a mark that says so it is the first start again.
    """
    enter = Enter("spout", 2, {}, ("t/0", "t/1"), ("t/0",))
    assert [1, 2] == [ask(enter).starts["t/0"] for _ in range(2)]  # type: ignore[union-attr]
    ask(Mark({"t/0": 5}, {}))
    assert Entered({"t/0": 3}, frozenset(), known={"t/0": 5}) == ask(enter)
    ask(Mark({"t/0": 6}, {"t/0": 5}, ("t/0",)))
    assert Entered({"t/0": 1}, frozenset(), known={"t/0": 6}) == ask(enter)
    assert Entered({}, frozenset(), known={"t/0": 6}) == ask(Enter("spout", 2, {}, ("t/0", "t/1")))


def test_one_record_at_a_time_is_out_alone_and_to_blame_if_its_task_comes_again(url: str, on_redis: Ask) -> None:
    """
    Only the task that has it may name the next, or none; whoever enters with its partition finds that it died.
    """
    granted = [on_redis(Try(owner, p, 7)) for owner, p in (("a", "t:x/0"), ("b", "t:x/1"), ("b", ""), ("a", "t:x/2"))]
    assert [Tried(True), Tried(False), Tried(False), Tried(True)] == granted
    with connect(url) as client:
        on_redis(Enter("spout", 3, {}, ("t:x/0", "t:x/1")))
        assert {} == progress(client, "app").blamed
        for _ in range(2):
            on_redis(Enter("spout", 3, {}, ("t:x/2",)))
        assert {("t:x/2", 7): 1} == progress(client, "app").blamed
    assert Tried(True) == on_redis(Try("b", "t:x/1", 3))
    assert [Tried(True), Tried(True)] == [on_redis(Try("b")), on_redis(Try("c", "t:x/0", 3))]


def test_of_records_that_were_out_together_none_is_to_blame(url: str, on_redis: Ask) -> None:
    """
    Nobody knows which one it was; but their task no longer holds up the others.
    """
    with connect(url) as client:
        for comes_again in (
            lambda: on_redis(Enter("spout", 3, {}, ("t:x/0",))),
            lambda: begin_run(client, "app", GRAPH),
        ):
            assert Tried(True) == on_redis(Try("a", "t:x/0", 7, 5))
            assert Tried(False) == on_redis(Try("b", "t:x/1", 3))
            comes_again()
            assert {} == progress(client, "app").blamed
            assert [Tried(True), Tried(True)] == [on_redis(Try("b", "t:x/1", 3)), on_redis(Try("b"))]


def test_a_record_that_was_out_alone_when_its_run_ended_is_to_blame_in_the_next(url: str, on_redis: Ask) -> None:
    """
    Its partition may never be entered again; else nothing could be tried any more.
    """
    on_redis(Try("a", "t:x/0", 7))
    with connect(url) as client:
        begin_run(client, "app", GRAPH)
        assert {("t:x/0", 7): 1} == progress(client, "app").blamed
    assert Tried(True) == on_redis(Try("b", "t:x/1", 3))


def test_where_partitions_stand_and_what_is_passed_over_is_read_back(url: str, on_redis: Ask) -> None:
    """
    The report of a partition; and a record is passed over once, however often that is said. Starts are counted anew.
    """
    on_redis(Report({"t:x/0": report.encode(STANDING)}))
    on_redis(Mark({"t:x/0": 8}, {}))
    on_redis(Enter("spout", 1, {}, ("t:x/0",), ("t:x/0",)))
    with connect(url) as client:
        assert {"t:x/0": 1} == progress(client, "app").starts
        assert pass_over(client, "app", "t/0/7")
        assert {} == progress(client, "app").starts
        assert not pass_over(client, "app", "t/0/7")
        found = progress(client, "app")
    assert ({"t:x/0": 8}, {"t:x/0": STANDING}, ["t/0/7"]) == (found.commits, found.standings, found.skips)
    assert {"t/0/7"} == on_redis(Skips()).records  # type: ignore[union-attr]
