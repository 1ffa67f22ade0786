"""A real Storm cluster: one on this machine with Kafka and Redis, kept running; and the client of any.

settings.py  versions and ports         needs.py   Java and Maven, or how to get them
jars.py      fetched once, by Maven     layout.py  the files that the programs read
daemon.py    a program that goes on when the one that started it has ended
parts.py     the five, how each is started and asked whether it answers
cluster.py   up, down, status           processes.py  the workers, in the machine's list of processes

nimbus.py    a client of Nimbus: the leader found, a topology submitted, killed
nimbus_settings.py  where it is, how it is spoken to     nimbus_transport.py  a connection, and why it failed
nimbus_digest.py    SASL DIGEST-MD5
topologies.py       what runs, and what can be asked of it   statistics.py    Storm's counters of it

hosts.py     a command on the workers' machines, here or through ssh.py
worker_logs.py      logs there, or from a logviewer.py       virtualenvs.py   a virtualenv there
"""
