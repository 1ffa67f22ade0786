"""A bolt that writes to Kafka: at least once, acked when confirmed, and what comes twice can be told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sink_parts import All, Choosing, Copies, Copying, Hourly, Trades, trade

from stormline import KafkaSink, SettingsError, Topology
from stormline.components import kafka_sink
from stormline.core.events import Unsent
from stormline.testing import Driver


class CopyingChained(Topology):
    trades = Trades.spec()
    kept = All.spec(inputs=[trades], chain=True)
    copies = Copies.spec(inputs=[kept])


@pytest.mark.parametrize("topology", [Copying, CopyingChained])
def test_each_record_is_written_as_json_with_its_origin_and_identity(topology: type) -> None:
    """The default message is the record; headers say where it came from, and which it is, chained or not."""
    tried = Driver(topology)
    tried.send(trade(amount="1.10"))
    (message,) = tried.messages("copies")
    assert (message.value, message.key) == (b'{"at":0,"user":"ann","amount":"1.10"}', None)
    assert message.headers == {"origin": b"trades/0/0", "id": b"trades.batch/kept.batch:trades/0/0"}
    (status,) = tried.status()["copies"]
    assert (status.records_in, status.records_out, status.broken) == (1, 1, 0)


def test_a_message_of_ones_own_says_value_key_and_headers() -> None:
    """Text and bytes as they are, None a tombstone; no message, nothing sent. All of it is acked."""
    tried = Driver(Choosing)
    for made in (trade(), trade(user="gone"), trade(amount="0")):
        tried.send(made)
    first, gone = tried.messages("chosen")
    assert (first.key, first.value, first.headers["a"], first.headers["b"]) == (
        b"ann",
        b"100.00",
        "ü".encode(),
        b"\xff",
    )
    assert (gone.key, gone.value) == (b"gone", None)
    (status,) = tried.status()["chosen"]
    assert (status.records_in, status.records_out, status.dropped) == (3, 2, 1)
    assert tried.acked == 3


def test_a_tuple_is_acked_only_when_kafka_has_all_of_it() -> None:
    """While one message is not confirmed nothing is committed; it is sent again, alone, until it is."""
    tried = Driver(Copying)
    for at in range(3):
        tried.send(trade(at), run=False)
    tried.refuse_next_write()
    tried.refuse_next_write()
    tried.run()
    assert (len(tried.messages("copies")), tried.acked) == (1, 0)
    tried.advance("900ms")
    assert tried.committed == {"trades/0": 0}
    (status,) = tried.status()["copies"]
    assert (status.trouble, status.settled) == ("cannot write to copies: the broker is full; trying again", False)
    tried.advance("3s")
    assert sorted(json.loads(message.value or b"")["at"] for message in tried.messages("copies")) == [0, 1, 2]
    assert (tried.acked, tried.committed) == (3, {"trades/0": 3})
    assert tried.status()["copies"][0].trouble is None


def test_a_bounded_run_ends_when_all_is_written() -> None:
    """Not before: what Kafka has not confirmed keeps the run open."""
    tried = Driver(Copying)
    tried.refuse_next_write()
    tried.send(trade())
    tried.end()
    assert len(tried.messages("copies")) == 1


def test_what_comes_again_has_the_same_identity() -> None:
    """A crash between Kafka's confirmation and the commit writes it twice; the header `id` tells."""
    tried = Driver(Copying)
    tried.send(trade())
    tried.crash()
    tried.end()
    first, again = tried.messages("copies")
    assert first.headers == again.headers


def test_no_more_is_in_flight_than_the_client_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits as records, and goes on as confirmations come."""
    monkeypatch.setattr(kafka_sink, "MOST_IN_FLIGHT", 10)
    tried = Driver(Copying)
    for at in range(35):
        tried.send(trade(at), run=False)
    for _ in range(100):
        tried.refuse_next_write()
    tried.run()
    assert 90 == len(tried.log.refusals)
    tried.log.refusals.clear()
    tried.advance("2s")
    assert list(range(35)) == sorted(json.loads(message.value or b"")["at"] for message in tried.messages("copies"))
    assert tried.acked == 35


def test_what_waits_is_written_once_however_often_it_comes_again() -> None:
    """Kafka takes nothing for minutes, and the spout emits it all again and again: each message is written once then,
    by whichever tuple came last, and all is acked."""
    tried = Driver(Copying)
    for at in range(20):
        tried.send(trade(at), run=False)
    tried.log.refusals.extend([Unsent("there is no such topic")] * 100_000)
    tried.run()
    tried.advance("3m")
    assert tried.failed >= 3
    tried.log.refusals.clear()
    tried.advance("30s")
    written = [json.loads(message.value or b"")["at"] for message in tried.messages("copies")]
    assert sorted(written) == list(range(20))
    assert (tried.acked, tried.committed) == (20, {"trades/0": 20})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: type("Mine", (KafkaSink,), {}).spec(inputs=[Trades.spec()]), "Mine needs the setting topic"),
        (lambda: type("Mine", (KafkaSink,), {"topik": "t"}), "did you mean topic?"),
        (lambda: Copies.spec(), "Copies.spec() needs inputs"),
        (lambda: Copies.spec(inputs=[Hourly.spec(inputs=[Trades.spec()])["final"]]), "needs the setting schema"),
        (lambda: All.spec(inputs=[Copies.spec(inputs=[Trades.spec()])]), "Copies has no stream default"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(make: Any, told: str) -> None:
    """A missing topic, a misspelt setting, no input, plain tuples without a schema, a bolt below a sink."""
    with pytest.raises(SettingsError) as caught:
        make()
    assert told in str(caught.value)
