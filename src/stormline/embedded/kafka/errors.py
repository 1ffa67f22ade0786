"""What can go wrong: the protocol's error codes, the exception that carries one to its answer, and the word on stderr.

Numbers and names are those of `org.apache.kafka.common.protocol.Errors`.
"""

import contextlib
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ParamSpec

P = ParamSpec("P")


class Code(IntEnum):
    """A protocol error code; its comment says whether clients retry."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2  # retried
    UNKNOWN_TOPIC_OR_PARTITION = 3  # retried
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_NOT_AVAILABLE = 15  # retried
    INVALID_TOPIC_EXCEPTION = 17
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27  # the member joins again
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51  # retried
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56  # retried
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    FENCED_LEADER_EPOCH = 74  # metadata are asked again
    UNKNOWN_LEADER_EPOCH = 75  # retried
    MEMBER_ID_REQUIRED = 79
    FENCED_INSTANCE_ID = 82
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88  # retried
    PRODUCER_FENCED = 90
    UNKNOWN_TOPIC_ID = 100
    TRANSACTIONAL_ID_NOT_FOUND = 105


class RefusedError(Exception):
    """A request, or one part of it, that is answered with an error code and a reason."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    @property
    def answer(self) -> dict[str, Any]:
        """The fields that tell the client."""
        return {"error_code": self.code, "error_message": self.reason}


def attempt(
    known: dict[str, Any], act: Callable[P, dict[str, Any]], *arguments: P.args, **named: P.kwargs
) -> dict[str, Any]:
    """One row of an answer: what is `known`, and what `act` adds to it or why it is refused."""
    try:
        return known | act(*arguments, **named)
    except RefusedError as error:
        return known | error.answer


class DamagedError(Exception):
    """A file of the broker that cannot be what the broker wrote; the message names it and the place."""


def tell(message: str) -> None:
    """Say something to who runs the broker. What cannot be said, for the disk is full or nobody listens, is not."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"kafka: {message}\n")
        sys.stderr.flush()
