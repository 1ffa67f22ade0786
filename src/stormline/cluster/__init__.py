"""A real development cluster on this machine: ZooKeeper, Nimbus, Supervisor, Kafka and Redis, kept running.

settings.py  versions and ports         needs.py   Java and Maven, or how to get them
jars.py      fetched once, by Maven     layout.py  the files that the programs read
daemon.py    a program that goes on when the one that started it has ended
parts.py     the five, how each is started and asked whether it answers
cluster.py   up, down, status           nimbus.py  a client of Nimbus
"""
