"""What `sparse explain` says of each partition, from what Kafka and Redis know."""

from __future__ import annotations

import re

from stormline.cli.explain import explained, missing
from stormline.connectors.kafka import Place
from stormline.connectors.progress import Progress
from stormline.core.report import PartitionReport


def held(blamed: dict[tuple[str, int], int], out: tuple[str, int] | None = None) -> list[str]:
    """Of two partitions that were begun five times at offset 10."""
    placed = [Place("t", number, 10, 0, 99) for number in (0, 1)]
    made = Progress({}, {}, {"t:id/0": 5, "t:id/1": 5}, blamed, [], out)
    return [each.held or "" for each in explained(placed, made, {})]


def test_a_partition_is_narrowed_down_until_the_cause_is_named_in_any() -> None:
    """
    A record that was named and is passed is the cause of nothing any more.
    """
    assert all("It is being narrowed down" in each for each in held({}))
    first, second = held({("t:id/0", 12): 2})
    assert "t/0/12 was emitted alone 2 times" in first
    assert second == ""
    assert all("It is being narrowed down" in each for each in held({("t:id/0", 9): 2}))


def test_what_retention_has_deleted_unread_is_in_the_way() -> None:
    """
    The next start stops for it, so it is told whatever else is known; where all that was deleted was read, nothing is.
    """
    made = Progress({}, {}, {"t:id/0": 5}, {("t:id/0", 12): 2}, [])
    (gone,) = explained([Place("t", 0, 10, 30, 99)], made, {})
    assert "the 20 offsets from 10 to 29 were deleted before they were read" in (gone.held or "")
    assert "--fresh" in (gone.held or "")
    (anew,) = explained([Place("t", 0, 10, 0, 5)], Progress({}, {}, {}, {}, []), {})
    assert "made anew" in (anew.held or "")
    (fine,) = explained([Place("t", 0, 10, 10, 10)], Progress({}, {}, {}, {}, []), {})
    assert fine.held is None


def test_what_kafka_has_forgotten_redis_knows() -> None:
    """
    The next start goes on from there, so only what lies behind it is still to come; else Kafka's word counts.
    """
    made = Progress({"t:id/0": 90, "t:id/1": 20}, {}, {}, {}, [])
    first, second = explained([Place("t", 0, None, 0, 99), Place("t", 1, 10, 0, 99)], made, {})
    assert (90, 9) == (first.committed, first.behind)
    assert (10, 89) == (second.committed, second.behind)


def test_who_waits_for_what_another_partition_has_out_is_told_so() -> None:
    """
    It is not narrowed down meanwhile.
    """
    first, second = held({}, ("t:id/0", 10))
    assert "It is being narrowed down" in first
    assert "wait for t/0/10, which is out" in second


def test_where_a_sink_cannot_write_no_record_is_to_blame() -> None:
    """
    Whatever fails then waits for the sink; to pass it over would be of no use.
    """
    placed = [Place("t", 0, 10, 0, 99)]
    for records, failures in ((1, 5), (1, 1), (20, 2)):
        told = PartitionReport(
            spout="s",
            task=1,
            at_ms=0,
            frontier=10,
            position=99,
            log_end=99,
            watermark_ms=None,
            idle=False,
            held_by=(10, 9 + records),
            records=records,
            failures=failures,
        )
        made = Progress({}, {"t:id/0": told}, {}, {}, [])
        (waiting,) = explained(placed, made, {"alerts": "out"})
        assert (waiting.held or "").endswith("timed out, as alerts cannot write to out, which does not exist")
    assert "t/0/10 to 29, failed 2 times together" in (waiting.held or "")


def test_a_topic_that_is_not_there_is_told_of_beside_those_that_are() -> None:
    """
    Only one that is given by name can be missed.
    """
    placed = [Place("a", 0, None, 0, 0)]
    assert ["b"] == missing([["a", "b"], re.compile("c-.*")], placed)
