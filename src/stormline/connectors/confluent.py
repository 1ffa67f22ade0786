"""What the two clients by confluent-kafka share: settings, and librdkafka's errors in our words."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka_clients import AWAY_MS, KafkaFault, Unanswered

_UNANSWERED: Final = {
    *(KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE),
    KafkaError._NOENT,  # of the administrative client: no broker leads the partition, as far as it knows
}
_RETRIABLE: Final = _UNANSWERED | {
    getattr(KafkaError, name)
    for name in (
        *("_WAIT_COORD", "_WAIT_CACHE", "_RETRY", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "_UNKNOWN_BROKER"),
        *("_DESTROY_BROKER", "_NODE_UPDATE", "_TIMED_OUT_QUEUE", "_MSG_TIMED_OUT", "_PREV_IN_PROGRESS"),
        *("UNKNOWN_TOPIC_OR_PART", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REQUEST_TIMED_OUT"),
        *("REPLICA_NOT_AVAILABLE", "NETWORK_EXCEPTION", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"),
        *("NOT_COORDINATOR", "NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "NOT_CONTROLLER"),
        *("KAFKA_STORAGE_ERROR", "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "OFFSET_NOT_AVAILABLE"),
        *("UNSTABLE_OFFSET_COMMIT", "THROTTLING_QUOTA_EXCEEDED", "BROKER_NOT_AVAILABLE"),
    )
}


def confluent_settings(brokers: Brokers) -> dict[str, Any]:
    """Settings of every client. Raises SettingsError if what is to be found on this machine is not."""
    security = {"security.protocol": brokers.protocol}
    if brokers.tls is not None:
        security["ssl.ca.location"] = brokers.tls.ca or "probe"  # where systems keep theirs
    if brokers.sasl is not None:
        user, password = brokers.sasl.credentials()
        security |= {"sasl.mechanism": brokers.sasl.mechanism, "sasl.username": user, "sasl.password": password}
    return {
        **security,
        "bootstrap.servers": brokers.bootstrap,
        "client.id": "stormline",
        "reconnect.backoff.max.ms": AWAY_MS,
        "socket.timeout.ms": 10_000,
        # librdkafka writes its log to stderr. What matters of it is reported by the connectors, once.
        "log_level": 0,
    }


def result(answer: Future[Any], timeout_ms: int) -> Any:
    """Raises KafkaFault. librdkafka keeps to the time; the second here is for the case that it does not."""
    try:
        return answer.result(timeout_ms / 1000 + 1)
    except KafkaException as error:
        raise fault(error) from error
    except FutureTimeout as error:
        raise Unanswered from error


def fault(error: KafkaException) -> KafkaFault:
    return fault_of(error.args[0])


def fault_of(error: Any) -> KafkaFault:
    """`error`: a KafkaError of confluent-kafka, which is none of Python's."""
    code = error.code()
    if code in _UNANSWERED:
        return Unanswered(error.str())
    return KafkaFault(f"{error.name()}: {error.str()}", retriable=code in _RETRIABLE)
