"""Which topics a spout reads: one, several, or those whose names a pattern matches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

DEAD = ".dead"
"""Ends the name of a dead-letter topic."""
Topics = str | Sequence[str] | re.Pattern[str]


def named(topics: Topics) -> tuple[str, ...]:
    """The topics that are given by name; of a pattern none."""
    if isinstance(topics, re.Pattern):
        return ()
    return (topics,) if isinstance(topics, str) else tuple(topics)


def chosen(topics: Topics, known: Iterable[str]) -> list[str]:
    """Those of the topics known that are meant. A pattern has to match the whole name, and matches no dead letters and
    none of Kafka's own topics."""
    if isinstance(topics, re.Pattern):
        return sorted(
            name for name in known if topics.fullmatch(name) and not name.endswith(DEAD) and not name.startswith("__")
        )
    names = named(topics)
    return sorted(name for name in known if name in names)


def reads(topics: Iterable[Topics], name: str) -> bool:
    """Whether one of these means the topic with this name."""
    return any(chosen(each, [name]) for each in topics)


def both(one: Topics, other: Topics) -> str:
    """What both mean, for messages; empty: nothing, or two patterns that differ, of which only names could tell."""
    if one == other and not named(one):
        return shown(one)
    return ", ".join(chosen(one, chosen(other, {*named(one), *named(other)})))


def shown(topics: Topics) -> str:
    """For messages."""
    return topics.pattern if isinstance(topics, re.Pattern) else ", ".join(named(topics))
