"""One contract, two stores, the scripts in a real server and the testing kit's: what a slot keeps, and how long."""

from typing import Any

import msgspec
import pytest
from store_parts import Ask, flush, loaded, window

from stormline.connectors.redis import connect
from stormline.connectors.results import Results, Row
from stormline.core.requests import Applied, Ended, Ends, Loaded, LoadedWindow


def rows(request: pytest.FixtureRequest) -> list[Row]:
    """What is shown of the bolt, in the store that the test asks."""
    if "on_redis" not in request.fixturenames and request.node.callspec.params["ask"] == "memory":
        ask: Any = request.getfixturevalue("ask")
        found: list[Row] = ask.__self__.rows("bolt")
        return found
    with connect(request.getfixturevalue("url")) as client:
        return list(Results(client, "app").rows("bolt"))


def test_a_slot_comes_back_as_it_was_flushed(ask: Ask) -> None:
    """
    Sequence, floor, included offsets, watermark, late count and live windows survive their owner.
    """
    assert Loaded(3, 0, {}, {}, None, 0, []) == loaded(ask)

    assert isinstance(ask(flush(1, window(k="1"), late=2, floor=5)), Applied)
    expected = LoadedWindow("w", "0@k:1", 0, 10, False, 0, {"k": "1"}, {"k": "1"})
    assert Loaded(3, 1, {"t/0": 5}, {"lane": {"t/0": [7, 9]}}, 50, 2, [expected]) == loaded(ask, "next")


def test_an_output_stays_until_it_is_delivered(ask: Ask) -> None:
    """
    What was to be sent comes back to the next owner, with its number; what has arrived does not.
    """
    loaded(ask)
    ask(flush(1, outputs={4: b'["s",[1]]', 5: b'["s",[2]]'}, next_output=6))
    ask(flush(2, delivered=[4], next_output=6))

    back = loaded(ask, "next")
    assert ({5: b'["s",[2]]'}, 6) == (back.outputs, back.next_output)


def test_what_is_done_is_kept_as_long_as_is_said(ask: Ask, request: pytest.FixtureRequest) -> None:
    """
    The flush after that time takes the results and their entry in the index away.
    """
    loaded(ask)
    ask(flush(1, window(0, stage="done", **{"1": "1"}), window(10, **{"1": "1"}), now_ms=1_000_000, keep_ms=500_000))
    ask(flush(2, window(10, **{"1": "2"}), now_ms=1_499_999, keep_ms=500_000))
    assert [0, 10] == [row.start_ms for row in rows(request)]

    ask(flush(3, window(10, **{"1": "3"}), now_ms=1_500_000, keep_ms=500_000))
    assert [10] == [row.start_ms for row in rows(request)]


def test_an_older_flush_has_no_effect(ask: Ask) -> None:
    """
    A delayed flush of the same owner does not bring old values back.
    """
    loaded(ask)
    ask(flush(2, window(k="2")))

    assert isinstance(ask(flush(1, window(k="1"))), Applied)
    assert {"k": "2"} == loaded(ask).windows[0].results


def test_a_forgotten_window_is_not_loaded_again(ask: Ask) -> None:
    """
    What is closed and past its lateness stays as a result, and costs a new owner nothing.
    """
    loaded(ask)
    ask(flush(1, window(0, k="1"), window(10, k="1")))
    ask(flush(2, window(0, final=True, stage="done")))

    assert [10] == [w.start_ms for w in loaded(ask).windows]


def test_thousands_of_rows_go_in_one_flush(ask: Ask) -> None:
    """
    Lua's limit on arguments does not show.
    """
    loaded(ask)
    rows = {f"key{i}": str(i) for i in range(9001)}
    assert isinstance(ask(flush(1, window(**rows))), Applied)

    assert 9001 == len(loaded(ask).windows[0].results)


def test_an_input_without_end_has_none(ask: Ask) -> None:
    """
    Until the feed has said where it ends, there is no end.
    """
    assert Ended(None) == ask(Ends("t"))


def test_a_request_that_is_written_twice_changes_nothing(ask: Ask) -> None:
    """
    Absolute values: the same content under the next sequence leaves results, late records and counts as they were.
    """
    loaded(ask)
    ask(flush(1, window(k="1"), late=2))
    before = loaded(ask)
    ask(flush(2, window(k="1"), late=2))

    assert msgspec.structs.replace(before, sequence=2) == loaded(ask)
