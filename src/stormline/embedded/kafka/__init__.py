"""A small durable Kafka broker for development: one process, one node, no JVM. Not for production.

It speaks enough of Kafka's protocol for kafka-python and librdkafka: topics, idempotent and transactional producers,
consumers with or without groups. It has no replication, no compaction, no access control, and listens on loopback only.
What it does and does not, held against Apache Kafka: docs/embedded.md.

What it acknowledges survives the death of the process at once, and the death of the machine after a second.

    __main__         the command line
    server           sockets; which requests are answered, in which versions
    *_requests       one function per request: records, topics, settings, groups, transactions
    broker           what they share
    catalog, commits what there is: topics, committed offsets      -> journal -> append_file
    coordinator      what happens to transactions                  -> transactions -> journal
    log, segment     the records of a partition                    -> append_file
    producers        which batches of a producer came before
    visibility       which records are committed
    group            the members of a consumer group
    settings         what a topic can have
    batches, markers, codec    bytes
"""
