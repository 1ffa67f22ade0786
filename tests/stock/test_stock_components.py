"""A stock streamparse project runs unchanged: in one process, over several workers, as children on multilang pipes."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from stock.stock_runs import PROJECT, SOURCES, Run

from stormline.core.errors import StormlineError
from stormline.embedded.servers import EmbeddedServers

WORDS = ["the", "cat", "and", "the", "dog", "and", "the", "bird"]


@pytest.fixture(params=["inline", "workers", "multilang"])
def multilang(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether tasks are children; with `workers` they are spread over three workers instead."""
    if request.param == "workers":
        monkeypatch.setattr(Run, "workers", 3)
    return bool(request.param == "multilang")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with EmbeddedServers.start(tmp_path / "servers", redis_only=True) as servers:
        yield servers.redis_url


def first(n: int) -> list[str]:
    return [WORDS[at % len(WORDS)] for at in range(n)]


def test_the_word_count_counts_each_word_at_its_own_task(tmp_path: Path, multilang: bool) -> None:
    """
    Every tuple is acked once under the id it was emitted with, counts are exact, each word has one task, and the spout
    was activated before.
    """
    with Run("wordcount", tmp_path, multilang=multilang, stock_words=100) as run:
        run.until(lambda: len(run.noted("acked")) == 100)
    assert {str(number): 1 for number in range(1, 101)} == Counter(run.noted("acked"))
    assert [] == run.noted("failed")
    assert 1 == len(run.noted("activated"))
    noted = [line.split(" ", 3)[3] for line in run.noted("noted")]
    expected = Counter()
    values = []
    for word in first(100):
        expected[word] += 1
        values.append(repr([word, expected[word]]))
    assert sorted(values) == sorted(noted)


def test_the_redis_word_count_counts_in_redis(tmp_path: Path, multilang: bool, redis_url: str) -> None:
    """
    A bolt with a client of its own, made in `initialize`, counts exactly; its log lines carry component and task.
    """
    from redis import Redis

    with Run("redis_wordcount", tmp_path, multilang=multilang, stock_words=40, stock_redis=redis_url) as run:
        run.until(lambda: len(run.noted("acked")) == 40)
        run.until(lambda: len(run.said("counted")) == 40)
    counted = {word.decode(): int(count) for word, count in Redis.from_url(redis_url).zscan_iter("words")}
    assert Counter(first(40)) == counted
    assert run.said("counts (task")


def test_batches_are_sent_at_ticks_and_acked_then(tmp_path: Path, multilang: bool) -> None:
    """
    A BatchingBolt holds its tuples until a tick, then sends one tuple for each key and acks them all. A slow machine
    may need more than one batch.
    """
    with Run("batching", tmp_path, multilang=multilang, stock_words=16) as run:
        run.until(lambda: len(run.noted("acked")) == 16)
    noted = [ast.literal_eval(line.split(" ", 3)[3]) for line in run.noted("noted")]
    words: Counter[str] = Counter()
    for word, count in noted:
        words[word] += count
    assert Counter(first(16)) == words
    assert max(count for _, count in noted) > 1


def test_a_bolt_with_a_timer_thread_runs_as_a_child(tmp_path: Path, multilang: bool) -> None:
    """
    A TicklessBatchingBolt sends its batches by its own thread, in either hosting.
    """
    with Run("tickless", tmp_path, multilang=multilang, stock_words=16) as run:
        run.until(lambda: len(run.noted("acked")) == 16)
    words: Counter[str] = Counter()
    for line in run.noted("noted"):
        word, count = ast.literal_eval(line.split(" ", 3)[3])
        words[word] += count
    assert Counter(first(16)) == words


def test_ticks_come_to_process_tick(tmp_path: Path, multilang: bool) -> None:
    """
    A tick of `__system` carries the seconds between ticks, and what is emitted for it goes out.
    """
    with Run("ticks", tmp_path, multilang=multilang, stock_words=1) as run:
        run.until(lambda: len(run.noted("noted")) >= 1)
    assert run.noted("noted")[0].endswith(" ticks default [1]")


def test_a_reliable_spout_replays_what_failed(tmp_path: Path, multilang: bool) -> None:
    """
    A tuple that a bolt fails by hand is emitted again by ReliableSpout and acked in the end; nothing else is repeated.
    """
    with Run("reliable", tmp_path, multilang=multilang) as run:
        run.until(lambda: len(run.noted("acked")) == 8)
    assert sorted(f"word-{number}" for number in range(8)) == sorted(run.noted("acked"))
    noted = [ast.literal_eval(line.split(" ", 3)[3])[0] for line in run.noted("noted")]
    assert Counter(WORDS) == Counter(noted)


def test_direct_tuples_reach_the_task_that_was_named(tmp_path: Path, multilang: bool) -> None:
    """
    Even numbers go to one task and odd ones to the other, as the spout says.
    """
    with Run("direct", tmp_path, multilang=multilang) as run:
        run.until(lambda: len(run.noted("noted")) == 20)
        low, high = run.worker.deployment.tasks["receiver"]
    expected = {f"{high if number % 2 == 0 else low} router routed [{number}]" for number in range(20)}
    assert expected == set(run.noted("noted"))


def test_task_ids_are_answered_on_several_streams(tmp_path: Path, multilang: bool) -> None:
    """
    `need_task_ids` gives the task that receives the tuple, for each of several streams; an anchor may be an id.
    """
    with Run("streams", tmp_path, multilang=multilang, stock_words=8) as run:
        run.until(lambda: len(run.noted("acked")) == 8)
        (task,) = run.worker.deployment.tasks["notes"]
    noted = Counter(line.split(" ", 2)[2] for line in run.noted("noted"))
    assert 8 == noted[f"went [{task}]"]
    assert 1 == noted["long ['bird']"]
    assert 3 == noted["short ['the', 3]"]


def test_what_a_class_overrides_keeps_its_say(tmp_path: Path, multilang: bool) -> None:
    """
    An `emit` and an `ack` of the user's own are called, for automatic acks too.
    """
    with Run("own_way", tmp_path, multilang=multilang, stock_words=4) as run:
        run.until(lambda: len(run.noted("acked")) == 4)
    assert [line.split(" ", 3)[3] for line in run.noted("noted")][0] == "['THE', 'own']"
    assert len(run.said("acking")) == 4


def test_a_shell_component_is_spoken_to_by_multilang(tmp_path: Path, multilang: bool) -> None:
    """
    A bolt in shell, started with two words in the folder of the sources, takes part in either hosting.
    """
    with Run("shell", tmp_path, multilang=multilang, stock_words=8) as run:
        run.until(lambda: len(run.noted("acked")) == 8)
    noted = Counter(line.split(" ", 3)[3] for line in run.noted("noted"))
    assert {f"['{word.upper()}']": count for word, count in Counter(WORDS).items()} == noted


def test_prints_are_logged_with_a_hint_once(tmp_path: Path, multilang: bool) -> None:
    """
    What a component prints is in its log, one hint is given, and no message is lost over it.
    """
    with Run("printing", tmp_path, multilang=multilang, stock_words=8, stock_write=multilang) as run:
        run.until(lambda: len(run.noted("acked")) == 8 and len(run.said("I saw")) == 8)
    assert len(run.said("print()")) == 1
    assert len(run.said("logged the")) == 3
    assert len(run.noted("noted")) == 8


def test_an_emit_that_cannot_be_sent_fails_its_tuple(tmp_path: Path, multilang: bool) -> None:
    """
    Bytes that are no text are not sent: their tuple fails, all others are acked, the bolt lives on, and the error names
    component, field, type and line.
    """
    with Run("raw", tmp_path, multilang=multilang, stock_words=8) as run:
        run.until(lambda: len(run.noted("acked")) + len(run.noted("failed")) == 8)
    assert ["5"] == run.noted("failed")
    (line,) = run.said("cannot be sent")
    for part in ("raw (task", "field 'raw'", "type bytes", "counting.py:", "BytesBolt.process"):
        assert part in line


def test_an_exception_fails_its_tuple_and_costs_the_task(tmp_path: Path, multilang: bool) -> None:
    """
    The error shows the user's frames alone and the tuple; the tuple fails, the task is made anew, the others are acked.
    """
    with Run("broken", tmp_path, multilang=multilang, stock_words=8, topology_max_spout_pending=1) as run:
        run.until(lambda: len(run.noted("acked")) + len(run.noted("failed")) == 8)
    failed = run.noted("failed")
    assert failed[0] == "5"
    assert len(failed) == 1 or multilang  # what was on its way to the dying child fails with it
    told = "\n".join(line for _, line in run.lines)
    assert "ValueError: no dogs" in told
    assert "word='dog'" in told
    assert "is made anew" in told
    assert [] == frames_of_others(told)
    assert "in process" in told


def frames_of_others(told: str) -> list[str]:
    """The lines of tracebacks that show no file of the stock project."""
    return [line for line in told.splitlines() if line.lstrip().startswith('File "') and str(SOURCES) not in line]


def test_a_bolt_that_stays_on_exceptions_stays(tmp_path: Path, multilang: bool) -> None:
    """
    With `exit_on_exception = False` the tuple fails, the error is told, and the task goes on.
    """
    with Run("patient", tmp_path, multilang=multilang, stock_words=8) as run:
        run.until(lambda: len(run.noted("acked")) + len(run.noted("failed")) == 8)
    assert ["5"] == run.noted("failed")
    assert [] == run.said("made anew")
    assert run.said("no dogs")


def test_a_component_that_cannot_start_ends_the_run(tmp_path: Path, multilang: bool) -> None:
    """
    After three starts without a tuple the run ends with the error of the user's code, and its frames alone.
    """
    run = Run("never_starts", tmp_path, multilang=multilang)
    with pytest.raises(StormlineError, match="no such table: words") as raised, run:
        run.until(lambda: False)
    assert "counting.py" in str(raised.value)
    assert [] == frames_of_others(str(raised.value))


def test_values_are_as_json_leaves_them(tmp_path: Path, multilang: bool) -> None:
    """
    Tuples arrive as lists, keys of dicts as texts, numbers and texts as they were.
    """
    with Run("values", tmp_path, multilang=multilang) as run:
        run.until(lambda: len(run.noted("noted")) == 6)
    got = [ast.literal_eval(line.split(" ", 3)[3])[0] for line in run.noted("noted")]
    assert [[1, 2], {"3": None}, 0.1, "zażółć 😀", 2**70, [True, [None]]] == got


def test_the_project_knows_nothing_of_us(multilang: bool) -> None:
    """
    No file of the stock project imports stormline.
    """
    for folder in ("src", "topologies"):
        for path in (PROJECT / folder).rglob("*.py"):
            assert "stormline" not in path.read_text(), path


def test_pending_tuples_are_limited(tmp_path: Path, multilang: bool) -> None:
    """
    A spout that emits one a `next` never has more than `topology.max.spout.pending` tuples unacked, however many `next`
    are on their way to a child.
    """
    most = 0
    with Run("wordcount", tmp_path, multilang=multilang, stock_words=200, topology_max_spout_pending=3) as run:

        def done() -> bool:
            nonlocal most
            most = max(most, run.worker.waited_for)
            return len(run.noted("acked")) == 200

        run.until(done)
    assert 1 <= most <= 3
