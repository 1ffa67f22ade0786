"""`chain=True`: filters in the tasks of the component above them do what they do as components of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamparse import Bolt, Topology

from stormline import Count, FilterBolt, KafkaSpout, Record, SettingsError, Sum, WindowBolt, tumbling
from stormline.components.chaining import chained, sources, told_apart
from stormline.components.graph import graph_fingerprint
from stormline.core.status import Status
from stormline.testing import Driver

PLAIN: list[int] = []


class Reading(Record):
    at: int
    value: int


class Readings(KafkaSpout):
    topic = "readings"
    schema = Reading
    event_time = "at"
    out_of_order = "1s"
    max_batch = 4


class NotThree(FilterBolt):
    """Drops each third, and cannot take 7."""

    def keep(self, reading: Reading) -> bool:
        if reading.value == 7:
            raise ValueError("seven")
        return reading.value % 3 > 0


class Small(FilterBolt):
    """Keeps what is below 20, and cannot take 11."""

    def keep(self, reading: Reading) -> bool:
        if reading.value == 11:
            raise ValueError("eleven")
        return reading.value < 20


class Even(FilterBolt):
    def keep(self, reading: Reading) -> bool:
        return reading.value % 2 == 0


def last_digit(reading: Reading) -> int:
    """Has no key for 14."""
    if reading.value == 14:
        raise ValueError("fourteen")
    return reading.value % 10


class PerDigit(WindowBolt):
    key = staticmethod(last_digit)
    window = tumbling("10ms")
    aggregate: ClassVar[dict[str, Any]] = {"readings": Count(), "value": Sum("value")}


class PerValue(PerDigit):
    key = "value"


class Take(Bolt):
    def process(self, tup: Any) -> None:
        PLAIN.append(tup.values.value)


def topology(chain: bool) -> Any:
    """Below the spout a keyed bolt, two filters in a row, and one beside them; below these a diamond, a second keyed
    bolt, and a stock bolt."""
    apart = {} if chain else {"par": 2}

    class Mixed(Topology):
        readings = Readings.spec(par=2)
        not_three = NotThree.spec(inputs=[readings], chain=chain)
        small = Small.spec(inputs=[not_three], chain=chain, **apart)
        even = Even.spec(inputs=[readings], chain=chain, **apart)
        direct = PerValue.spec(inputs=[readings])
        both = PerDigit.spec(inputs=[small, even], par=3)
        values = PerValue.spec(inputs=[not_three], par=2)
        take = Take.spec(inputs=[small["default"]])

    return Mixed


def below_a_bolt(chain: bool) -> Any:
    """The same filters with the first of them as the host of the others."""

    class Below(Topology):
        readings = Readings.spec(par=2)
        even = Even.spec(inputs=[readings], par=2)
        not_three = NotThree.spec(inputs=[even], chain=chain)
        small = Small.spec(inputs=[not_three], chain=chain)
        both = PerDigit.spec(inputs=[even, small], par=3)
        values = PerValue.spec(inputs=[not_three], par=2)

    return Below


MAKERS = [topology, below_a_bolt]
"""Topologies with chained filters, and (chain=False) the same with each as a component of its own."""
FAULTS = {
    "crash": Driver.crash,
    "spout": lambda tried: tried.kill("readings"),
    "even": lambda tried: "even" in tried._engine.deployment.specs and tried.kill("even"),
    "keyed": lambda tried: tried.kill("both", 1),
    "flush": Driver.lose_next_flush,
    "reply": Driver.lose_next_reply,
    "redis": Driver.restart_redis,
    "letter": Driver.refuse_next_write,
    "time": lambda tried: tried.advance("1s"),
}
feeds = st.lists(st.sampled_from([1, 2, 3, 7, 8, 11, 14, 16, 22, 25]), min_size=1, max_size=40)
histories = st.lists(st.tuples(st.integers(0, 39), st.sampled_from(sorted(FAULTS))), max_size=8)


def play(tried: Driver, feed: list[int], faults: list[tuple[int, str]] = ()) -> Driver:  # type: ignore[assignment]
    """Send the feed, in batches, with the faults between its records, and come to the end."""
    for n, value in enumerate(feed):
        tried.send({"at": n, "value": value}, partition=n % 2, run=n % 6 == 5)
        for _, fault in [each for each in faults if each[0] == n]:
            FAULTS[fault](tried)
            tried.run(steps=5)
    tried.end()
    return tried


def results(tried: Driver) -> list[Any]:
    return [row for component in tried.keyed for row in tried.results(component)]


def letters(tried: Driver) -> list[tuple[str, str, bytes | None]]:
    return sorted((each.component, each.origin, each.value) for each in tried.dead_letters())


def counters(tried: Driver) -> dict[str, list[int]]:
    """Component -> in, out, dropped, broken, of all its tasks."""
    return {
        component: [
            sum(getattr(task, name) for task in tasks) for name in ("records_in", "records_out", "dropped", "broken")
        ]
        for component, tasks in tried.status().items()
    }


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=25, deadline=None)
@given(feed=feeds)
def test_chained_filters_do_what_they_do_as_components(make: Any, feed: list[int]) -> None:
    """
    Results, dead letters, plain tuples and the counters of each component are the same, chained or not.
    """
    PLAIN.clear()
    apart = play(Driver(make(False), partitions=2), feed)
    plain = Counter(PLAIN)
    PLAIN.clear()
    together = play(Driver(make(True), partitions=2), feed)

    assert results(apart) == results(together)
    assert letters(apart) == letters(together)
    assert counters(apart) == counters(together)
    assert plain == Counter(PLAIN)


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=40, deadline=None)
@given(feed=feeds, faults=histories, seed=st.none() | st.integers(0, 1000))
def test_whatever_dies_chained_filters_come_to_the_same(
    make: Any, feed: list[int], faults: list[tuple[int, str]], seed: int | None
) -> None:
    """
    After crashes, lost flushes and refused dead letters: results as without any fault and unchained, each broken record
    among the dead letters and no other, and of what went into a filter all is kept, dropped or broken.
    """
    quiet = play(Driver(make(False), partitions=2), feed)
    tried = play(Driver(make(True), partitions=2, seed=seed), feed, faults)

    assert results(quiet) == results(tried)
    assert set(letters(quiet)) == set(letters(tried))
    for component in ("not_three", "small", "even"):
        came, kept, dropped, broken = counters(tried)[component]
        assert came == kept + dropped + broken, component
    assert tried.committed == quiet.committed


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=25, deadline=None)
@given(feed=feeds, first=st.booleans(), at=st.integers(0, 39), faults=histories)
def test_a_filter_can_be_chained_from_one_run_to_the_next(
    make: Any, feed: list[int], first: bool, at: int, faults: list[tuple[int, str]]
) -> None:
    """
    Chained in one run and not in the next, or the other way round, with batches on their way: nothing is lost, nothing
    counts twice, and the graph is the same.
    """
    kinds = {chain: make(chain) for chain in (True, False)}
    assert graph_fingerprint(kinds[True]) == graph_fingerprint(kinds[False])
    quiet = play(Driver(kinds[False], partitions=2), feed)
    tried = Driver(kinds[first], partitions=2)
    for n, value in enumerate(feed):
        tried.send({"at": n, "value": value}, partition=n % 2, run=False)
        tried.run(steps=3)
        for _, fault in [each for each in faults if each[0] == n]:
            FAULTS[fault](tried)
        if n == at:
            tried.submit(kinds[not first])
    tried.end()

    assert results(quiet) == results(tried)
    assert set(letters(quiet)) == set(letters(tried))


def test_the_offset_waits_for_the_dead_letter_of_a_chained_filter() -> None:
    """
    While the broker takes no dead letter the offset of the record that broke is not committed; the letter has the
    chained component's name, and the rest of the batch is counted meanwhile.
    """
    tried = Driver(topology(True))
    for _ in range(3):
        tried.refuse_next_write()
    for value in (1, 7, 2):
        tried.send({"at": 1, "value": value}, run=False)
    tried.advance("2s")
    assert [] == tried.dead_letters()
    assert {"readings/0": 0} == tried.committed
    assert {1: 1, 2: 1} == {row.key: row.values["readings"] for row in tried.results("values")}
    assert "trying again" in "".join(str(task.trouble) for task in tried.status()["readings"])
    tried.advance("5s")

    (letter,) = tried.dead_letters()
    assert ("not_three", "readings/0/1") == (letter.component, letter.origin.replace(":1/", "/"))
    assert letter.reason.startswith("not_three: NotThree.keep (")
    assert '{"at":1,"value":7}' == (letter.value or b"").decode()
    assert {"readings/0": 3} == tried.committed


def test_what_broke_counts_after_the_code_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No tuple reaches over a record that broke in a chained filter: what stands around it is counted, it is not, and the
    next run, which reads them again with a filter that takes all, counts it and nothing else.
    """
    tried = Driver(topology(True))
    for _ in range(100):
        tried.refuse_next_write()
    for value in (17, 7, 17):
        tried.send({"at": 1, "value": value}, run=False)
    tried.advance("2s")
    assert {7: 2} == {row.key: row.values["readings"] for row in tried.results("both")}
    tried.log.refusals.clear()
    monkeypatch.setattr(NotThree, "keep", lambda self, reading: True)
    tried.crash()
    tried.end()

    assert {7: 3} == {row.key: row.values["readings"] for row in tried.results("both")}
    assert {7: 1, 17: 2} == {row.key: row.values["readings"] for row in tried.results("values")}


def test_a_chained_component_is_one_of_the_picture() -> None:
    """
    What it did stands below its host under its own name, task by task, and it reads what it would read unchained.
    """
    names = ["readings", "not_three", "small", "even", "direct", "both", "values", "take"]
    tried = Driver(topology(True), partitions=2)
    tried.send({"at": 0, "value": 3})
    assert sorted(names) == sorted(tried.status())
    assert [(1, 0, 1)] == [
        (s.records_in, s.records_out, s.dropped) for s in tried.status()["not_three"] if s.records_in
    ]
    assert 2 == len(tried.status()["not_three"])
    assert sources(topology(True)) == sources(topology(False))
    assert {name: [] for name in names} == told_apart(dict.fromkeys(names[:1] + names[4:], []), topology(True))


def test_a_chained_component_has_no_task_to_be_killed() -> None:
    """
    The mistake is told with the components that have tasks.
    """
    with pytest.raises(ValueError, match="name a component: readings, direct, both, values, take, not small"):
        Driver(topology(True)).kill("small")


def test_storm_knows_nothing_of_it() -> None:
    """
    Its streams are streams of its host, under names of their own; two of one class are told apart.
    """

    class Twice(Topology):
        readings = Readings.spec()
        one = Even.spec(inputs=[readings], chain=True)
        two = Even.spec(inputs=[readings], chain=True, name="other")
        per_value = PerValue.spec(inputs=[readings, one, two])

    (spout,) = Twice.thrift_topology.spouts.values()
    assert {"readings", "per_value"} == {*Twice.thrift_topology.spouts, *Twice.thrift_topology.bolts}
    assert {"by_per_value", "Even.by_per_value", "Even-2.by_per_value"} <= set(spout.common.streams)
    assert ["one", "other"] == [each.name for each in chained(Twice)]
    tried = Driver(Twice)
    tried.send({"at": 0, "value": 2})
    tried.end()
    assert [3] == [row.values["readings"] for row in tried.results()]


class Opens(Even):
    def prepare(self, host: Any) -> None:
        super().prepare(host)


class Wide(Even):
    par = 2


REFUSED = [
    (lambda: Even.spec(chain=True), "needs exactly one input, in whose tasks it runs, and has 0"),
    (lambda: Even.spec(inputs=[Readings.spec(), Readings.spec()], chain=True), "and has 2"),
    (lambda: Even.spec(inputs=[Take.spec(inputs=[Readings.spec()])], chain=True), "not Take"),
    (lambda: Even.spec(inputs=[PerValue.spec(inputs=[Readings.spec()])], chain=True), "not PerValue"),
    (lambda: Even.spec(inputs=[Readings.spec()["default"]], chain=True), "must be a KafkaSpout or a FilterBolt"),
    (lambda: Even.spec(inputs=[Readings.spec()], par=1, chain=True), "leave par out"),
    (lambda: Wide.spec(inputs=[Readings.spec()], chain=True), "leave par out"),
    (lambda: Even.spec(inputs=[Readings.spec()], config={"a": 1}, chain=True), "leave config out"),
    (lambda: Opens.spec(inputs=[Readings.spec()], chain=True), "has its own prepare; leave chain out"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED)
def test_what_cannot_be_chained_is_refused_when_it_is_wired(make: Any, told: str) -> None:
    """
    Where the input does not allow it, and where something is said of tasks that it does not have.
    """
    with pytest.raises(SettingsError) as caught:
        make()

    assert told in str(caught.value)


def test_all_that_speaks_against_it_is_told_at_once() -> None:
    """
    Three mistakes are three faults of one error.
    """
    with pytest.raises(SettingsError) as caught:
        Wide.spec(inputs=[], config={"a": 1}, chain=True)

    assert 3 == len(caught.value.faults)


def test_a_chained_component_without_a_name_is_refused() -> None:
    """
    It would be missing in the picture; so would one with the name of another.
    """

    class Nameless(Topology):
        readings = Readings.spec()
        per_value = PerValue.spec(inputs=[Even.spec(inputs=[readings], chain=True)])

    class Doubled(Topology):
        readings = Readings.spec()
        even = Even.spec(inputs=[readings], chain=True, name="per_value")
        per_value = PerValue.spec(inputs=[even])

    with pytest.raises(SettingsError, match=r"Nameless: Even.spec\(chain=True\) has no name; make it an attribute"):
        Driver(Nameless)
    with pytest.raises(SettingsError, match="Doubled: 2 components are called per_value"):
        Driver(Doubled)


def test_a_stock_component_is_told_how_to_read_it() -> None:
    """
    streamparse takes specs of its own only; the message says what to write.
    """
    with pytest.raises(
        TypeError, match=r'Even, which is chained: a stock component reads its stream, spec\["default"\]'
    ):
        Take.spec(inputs=[Even.spec(inputs=[Readings.spec()], chain=True)])


def test_the_counts_of_a_task_travel_with_those_of_its_chained_components() -> None:
    """
    Between processes a status keeps what stands below it.
    """
    import msgspec

    status = Status(records_in=3, chained={"even": Status(records_in=2)})
    assert status == msgspec.convert(msgspec.to_builtins(status), Status)
    assert status == msgspec.msgpack.decode(msgspec.msgpack.encode(status), type=Status)
