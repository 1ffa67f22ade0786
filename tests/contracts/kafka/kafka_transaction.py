"""A transaction request by request, where the order of what happens, or its errors, are the point."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.contracts.kafka.kafka_member import WAIT_S
from tests.contracts.kafka.kafka_wire import Wire
from tests.embedded.kafka.kafka_batches import made

Answer = TypeVar("Answer")
CONCURRENT_TRANSACTIONS = 51
_RETRIED = {14, 15, 16, CONCURRENT_TRANSACTIONS}  # the coordinator loads, is not there yet, or is still ending the last


def final(ask: Callable[[], Answer], code: Callable[[Answer], int]) -> Answer:
    """The first answer that is not to ask again."""
    deadline = time.monotonic() + WAIT_S
    while code(answer := ask()) in _RETRIED:
        assert time.monotonic() < deadline, answer
    return answer


class Transactional:
    """A producer with a transactional id. Methods give the error code of the answer."""

    def __init__(self, wire: Wire, name: str, *, timeout_ms: int = 60_000) -> None:
        self.wire = wire
        self.name = name
        self.sequence = 0
        assert wire.ask("FindCoordinator", 3, key=name, key_type=1) is not None
        answer = self._retried(
            "InitProducerId", 4, transactional_id=name, transaction_timeout_ms=timeout_ms, producer_id=-1,
            producer_epoch=-1,
        )  # fmt: skip
        assert answer.error_code == 0
        self.id, self.epoch = answer.producer_id, answer.producer_epoch

    def _retried(self, api: str, version: int, **body: Any) -> Any:
        return final(lambda: self.wire.ask(api, version, **body), lambda answer: answer.error_code)

    @property
    def _producer(self) -> dict[str, Any]:
        return {"transactional_id": self.name, "producer_id": self.id, "producer_epoch": self.epoch}

    def add(self, *topics: str) -> dict[str, int]:
        """Add partition 0 of each."""
        body = {
            "v3_and_below_transactional_id": self.name,
            "v3_and_below_producer_id": self.id,
            "v3_and_below_producer_epoch": self.epoch,
            "v3_and_below_topics": [{"name": topic, "partitions": [0]} for topic in topics],
        }

        def ask() -> dict[str, int]:
            rows = self.wire.ask("AddPartitionsToTxn", 3, **body).results_by_topic_v3_and_below
            return {row.name: row.results_by_partition[0].partition_error_code for row in rows}

        return final(ask, lambda codes: next(iter(codes.values())))

    def batch(self, *times: int) -> bytes:
        """The next batch of this producer."""
        batch = made(times, producer=self.id, epoch=self.epoch, sequence=self.sequence, transactional=True)
        self.sequence += len(times)
        return batch

    def produce(self, topic: str, *times: int) -> int:
        return int(self.wire.produce(topic, self.batch(*times), name=self.name).error_code)

    def add_offsets(self, group: str) -> int:
        return int(self._retried("AddOffsetsToTxn", 3, **self._producer, group_id=group).error_code)

    def commit_offset(self, group: str, topic: str, offset: int) -> int:
        row = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": ""}
        body = {
            **self._producer,
            "group_id": group,
            "generation_id": -1,
            "member_id": "",
            "group_instance_id": None,
            "topics": [{"name": topic, "partitions": [row]}],
        }
        answer = final(
            lambda: self.wire.ask("TxnOffsetCommit", 3, **body),
            lambda answer: answer.topics[0].partitions[0].error_code,
        )
        return int(answer.topics[0].partitions[0].error_code)

    def end(self, *, commit: bool) -> int:
        return int(self._retried("EndTxn", 3, **self._producer, committed=commit).error_code)
