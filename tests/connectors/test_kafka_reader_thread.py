"""The reader's thread outlives whatever its client does."""

from __future__ import annotations

import queue
from typing import Any

import pytest

from stormline.connectors import kafka_reader
from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka_clients import KafkaFault
from stormline.core.events import Trouble


class Closing:
    """A client that neither answers nor can be closed."""

    def topics(self, names: Any) -> Any:
        raise KafkaFault("the first fault", retriable=True)

    def close(self) -> None:
        raise RuntimeError("it cannot be closed")


class Lost:
    """A client with which nothing goes on."""

    def topics(self, names: Any) -> Any:
        raise KafkaFault("the last fault", retriable=False)

    def close(self) -> None:
        pass


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_client_that_cannot_be_closed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The next one is made; a thread that ended with it would leave a spout that reads nothing and says nothing.
    """
    made = [Closing(), Lost()]
    monkeypatch.setattr(kafka_reader, "consumer", lambda *_, **__: made.pop(0))
    monkeypatch.setattr(kafka_reader, "RETRY_S", 0.01)
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    reader = kafka_reader.KafkaReader(
        Brokers("127.0.0.1:9"),
        topics="t",
        group="g",
        task_index=0,
        task_count=1,
        max_batch=1,
        timestamps=False,
        on_event=events.put,
        post=lambda call: call(),
    )
    first, last = events.get(timeout=10), events.get(timeout=10)
    reader.close()
    assert isinstance(first, Trouble)
    assert "the first fault" in (first.message or "")
    assert last == Trouble(last.message, fatal=True)
    assert "the last fault" in last.message
