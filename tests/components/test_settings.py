"""Wrong settings are told before anything starts, with the place in the user's code."""

from decimal import Decimal
from typing import Any

import pytest

from stormline import Count, FilterBolt, KafkaSpout, Record, SettingsError, Sum, Topology, WindowBolt, tumbling
from stormline.components.graph import version


class Trade(Record):
    at: int
    amount: Decimal
    user: str


class Trades(KafkaSpout):
    topic = "trades"
    schema = Trade
    event_time = "at"


class PerUser(WindowBolt):
    key = "user"
    window = tumbling("1s")
    aggregate = {"trades": Count()}


class Large(FilterBolt):
    def keep(self, trade: Trade) -> bool:
        return trade.amount > 1


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (KafkaSpout, {"topik": "trades"}, "topik is no setting of a KafkaSpout; did you mean topic?"),
        (KafkaSpout, {"out_of_order": "5 parsecs"}, "out_of_order = '5 parsecs'"),
        (KafkaSpout, {"schema": dict}, "give a subclass of stormline.Record"),
        (KafkaSpout, {"max_batch": 0}, "give a whole number above 0"),
        (WindowBolt, {"agregate": {"n": Count()}}, "did you mean aggregate?"),
        (WindowBolt, {"aggregate": {"n": 5}}, "the aggregate n is 5, which has no create, add, merge, result"),
        (WindowBolt, {"window": "1h"}, 'tumbling("1h")'),
        (WindowBolt, {"key": ()}, "give a field, a tuple of fields, or a function"),
        (WindowBolt, {"allowed_lateness": -1}, "allowed_lateness = -1"),
    ],
)
def test_a_wrong_setting_is_told_when_the_class_is_made(kind: type, settings: dict[str, Any], told: str) -> None:
    """
    The message has the class, the file and line, what came and what to write.
    """
    with pytest.raises(SettingsError) as caught:
        type("Mine", (kind,), settings)

    assert told in str(caught.value)
    assert "Mine (" in str(caught.value)
    assert "test_settings.py:" in str(caught.value)


def test_all_faults_of_a_class_are_told_at_once() -> None:
    """
    Nobody has to start three times to find three faults.
    """
    with pytest.raises(SettingsError) as caught:
        type("Mine", (KafkaSpout,), {"topik": "t", "span": -1, "max_ahead": "soon"})

    assert len(caught.value.faults) == 3


def test_attributes_of_ones_own_are_left_alone() -> None:
    """
    A constant or a method of the user's is no setting.
    """
    type("Mine", (FilterBolt,), {"LIMIT": 5, "keep": lambda self, record: True, "helper": staticmethod(len)})


def _without_topic() -> object:
    return type("Mine", (KafkaSpout,), {"schema": Trade}).spec()


def _event_time_elsewhere() -> object:
    return type("Mine", (KafkaSpout,), {"topic": "t", "schema": Trade, "event_time": "date"}).spec()


def _key_elsewhere() -> object:
    bolt = type("Mine", (WindowBolt,), {"key": "customer", "window": tumbling("1s"), "aggregate": {"n": Count()}})
    return bolt.spec(inputs=[Trades.spec()])


def _field_elsewhere() -> object:
    bolt = type("Mine", (WindowBolt,), {"window": tumbling("1s"), "aggregate": {"total": Sum("price")}})
    return bolt.spec(inputs=[Trades.spec()])


def _without_keep() -> object:
    return type("Mine", (FilterBolt,), {}).spec(inputs=[Trades.spec()])


def _without_inputs() -> object:
    return Large.spec()


def _below_a_keyed_bolt() -> object:
    return Large.spec(inputs=[PerUser.spec(inputs=[Trades.spec()])])


def _more_tasks_than_slots() -> object:
    class Wide(Topology):
        trades = Trades.spec()
        users = PerUser.spec(inputs=[trades], par=65)

    return version(Wide)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_without_topic, "Mine needs the setting topic"),
        (_event_time_elsewhere, "event_time = 'date' is no field of Trade (at, amount, user)"),
        (_key_elsewhere, "the key 'customer' is no field of Trade (at, amount, user)"),
        (_field_elsewhere, "the aggregate total reads the field 'price'; Trade has at, amount, user"),
        (_without_keep, "Mine needs a method keep(self, record)"),
        (_without_inputs, "Large.spec() needs inputs"),
        (_below_a_keyed_bolt, "PerUser has no stream default; name one of its streams in brackets"),
        (_more_tasks_than_slots, "there are 64 slots"),
    ],
)
def test_what_does_not_fit_together_is_told_when_it_is_wired(make: Any, told: str) -> None:
    """
    Checks that need the input's schema happen in `.spec()`.
    """
    with pytest.raises(SettingsError) as caught:
        make()

    assert told in str(caught.value)


def test_keyed_bolts_are_wired_by_their_names() -> None:
    """
    A keyed bolt gets a stream of its own from each input, grouped by slot, and the claims of every spout upstream.
    """

    class Wired(Topology):
        trades = Trades.spec(par=2)
        large = Large.spec(inputs=[trades])
        users = PerUser.spec(inputs=[large, trades], par=3)

    specs = {spec.name: spec for spec in Wired.specs}
    inputs = {(source.componentId, source.streamId): grouping for source, grouping in specs["users"].inputs.items()}
    assert {("large", "by_users"), ("trades", "by_users"), ("trades", "progress")} == set(inputs)
    assert ["slot"] == inputs["large", "by_users"].fields
    assert {"batch", "by_users", "default"} == set(specs["large"].outputs)
    assert Wired.thrift_topology.bolts["users"].common.parallelism_hint == 3
