"""What a reader has lost, with each client: its broker is waited for, a log that is another one ends it."""

from kafka import KafkaAdminClient, TopicPartition
from kafka_connector_parts import Broker, broker_fixture, produce, topic_fixture
from reader_parts import client_fixture, reading_fixture, some_values

from stormline.connectors.kafka import delete_topic, ensure_topic
from stormline.core.events import Assigned, Committed, Fetched, Trouble

broker, topic, client, reading = broker_fixture, topic_fixture, client_fixture, reading_fixture


def test_an_offset_that_is_not_in_the_log_ends_the_reader(broker, topic, reading):
    """Fatal, with the partition, the offset, and the range that exists: going on would skip or repeat records."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(5))
    one = reading(broker.address, topic).started(at=77)
    trouble = one.inbox.next(Trouble)
    assert trouble.fatal
    told = (
        f"{one.names[0]} at offset 77, but Kafka has 0 to 5: the topic was made anew, or has lost its end. Start over"
    )
    assert told in trouble.message


def test_what_retention_took_before_it_was_read_is_told_as_that(broker, topic, reading):
    """How many offsets are gone: it is no topic made anew, of which nothing that was counted would be there."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(5))
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.delete_records({TopicPartition(topic, 0): 3})
    admin.close()
    one = reading(broker.address, topic).started(at=1)
    trouble = one.inbox.next(Trouble)
    assert trouble.fatal
    assert (
        "but Kafka has 3 to 5: the 2 offsets before were deleted before they were read (retention)" in trouble.message
    )


def test_a_topic_made_anew_ends_the_reader(broker, topic, reading):
    """Its offsets begin again, so reading on would take new records for old ones, or old ones for new."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(5))
    one = reading(broker.address, topic).started()
    assert one.next_records(one.names[0]).next_offset == 5
    delete_topic(broker.brokers, topic)
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(9))
    one.inbox.until(lambda: any(isinstance(event, Trouble) and event.fatal for event in one.inbox.events))
    assert not any(isinstance(event, Fetched) and event.offsets for event in one.inbox.events)


def test_a_topic_made_anew_is_noticed_where_the_offset_exists_too(broker, topic, reading):
    """By its id; here nothing had been read, so the same offset is right in both."""
    ensure_topic(broker.brokers, topic, 1)
    one = reading(broker.address, topic).started()
    one.reader.want(frozenset(one.names))
    delete_topic(broker.brokers, topic)
    ensure_topic(broker.brokers, topic, 1)
    one.inbox.until(lambda: any(isinstance(event, Trouble) and event.fatal for event in one.inbox.events))
    assert f"topic {topic} was deleted and made anew" in one.inbox.events[-1].message


def test_a_broker_that_dies_is_waited_for(tmp_path, topic, reading):
    """Trouble once, naming the address; when the broker is back that is over, and no record is missing or doubled."""
    broker = Broker(tmp_path)
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, some_values(10))
    one = reading(broker.address, topic).started()
    [name] = one.names
    assert one.next_records(name).next_offset == 10
    one.reader.want(frozenset([name]))
    broker.kill()
    one.reader.commit({name: 10})
    trouble = one.inbox.next(Trouble)
    assert broker.address in trouble.message
    assert not trouble.fatal
    broker.start()
    produce(broker, topic, 0, some_values(5, 10))
    seen = []
    committed = None
    while len(seen) < 5 or committed is None:
        event = one.inbox.next(object)
        if isinstance(event, Fetched):
            seen += event.values
            one.reader.want(frozenset([name]))
        elif isinstance(event, Committed):
            committed = event.offsets
        else:
            assert not event.fatal, event.message
    assert seen == some_values(5, 10)
    assert committed == {name: 10}
    broker.kill()


def test_a_reader_may_be_started_before_its_broker(tmp_path, topic, reading):
    """Trouble names the address; `Assigned` follows when the broker is there."""
    broker = Broker(tmp_path)
    ensure_topic(broker.brokers, topic, 1)
    broker.kill()
    one = reading(broker.address, topic)
    assert broker.address in one.inbox.next(Trouble).message
    broker.start()
    assert one.inbox.next(Trouble) == Trouble(None)
    assert len(one.inbox.next(Assigned).standings) == 1
    broker.kill()
