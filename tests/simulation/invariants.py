"""What must hold in each history, read from the server: what is counted, late, shown and sent, and how often."""

from __future__ import annotations

from typing import Any

import msgspec
from simulation.one_pass import one_pass
from simulation.outputs import KEYS, Outputs
from simulation.server import APP, Server
from simulation.topic import Topic

from stormline.core.slot import key_text, slot_of
from stormline.core.window import CountWindow, Sliding


class Violation(AssertionError):
    """An invariant does not hold; the message begins with its name."""


def expect(holds: bool, violation: str) -> None:
    if not holds:
        raise Violation(violation)


class Invariants:
    """Of one history. Records in `skipped` need not be counted; those of partitions in `unknown_to` may be late."""

    def __init__(self, server: Server, windower: Any, topic: Topic, outputs: Outputs, out_of_order_ms: int) -> None:
        self.server, self.windower, self.topic, self.outputs = server, windower, topic, outputs
        self.out_of_order_ms = out_of_order_ms
        self.slots = {slot_of(key_text(key)) for key in KEYS}
        self.skipped: set[str] = set()
        self.unknown_to: set[str] = set()
        self.delivered: dict[str, tuple[str, list[Any]]] = {}
        self._idle_from = [len(log) for log in topic.logs]
        self._effects: tuple[list[str], list[str]] | None = None

    def idle(self, partition: int, position: int) -> None:
        """It was called idle, so what comes from here on may be late."""
        self._idle_from[partition] = min(self._idle_from[partition], position)

    def deliver(self, stream: str, values: list[Any]) -> None:
        """Whoever reads the results: what comes again under its identity must be the same."""
        identity = values[-1]
        before = self.delivered.setdefault(identity, (stream, values))
        expect(before == (stream, values), f"I8: {identity} was {before}, comes again as {values}")

    def windows(self, slot: int) -> dict[str, tuple[dict[str, Any], set[str]]]:
        """What the server holds of a slot: id -> (index entry, identities counted)."""
        tag = f"{{{APP}:K:{slot}}}"
        found = {}
        for field, entry in self.server.client.hgetall(f"{tag}:windows").items():
            rows = self.server.client.hvals(f"{tag}:w:{field.decode()}")
            ids = [i for row in rows for i in msgspec.json.decode(row)["ids"]]
            expect(len(ids) == len(set(ids)), f"I1: counted twice in window {field.decode()}: {sorted(ids)}")
            found[field.decode().partition(":")[2]] = (msgspec.json.decode(entry), set(ids))
        if not isinstance(self.windower, Sliding):
            every = [i for _, ids in found.values() for i in ids]
            expect(len(every) == len(set(every)), f"I1: counted in two windows: {sorted(every)}")
        return found

    def flushed(self, slot: int, before: dict[str, tuple[dict[str, Any], set[str]]]) -> None:
        """The slot may have changed since its windows were these: those that were final only with a revision."""
        self._effects = None
        after = self.windows(slot)
        for window, (entry, ids) in before.items():
            if entry["state"] == "final" and (window not in after or ids != after[window][1]):
                # A session that is part of another one now is found where its records are.
                now = after[window] if window in after else next(w for w in after.values() if ids <= w[1])
                revised = now[0]["revision"] > entry["revision"]
                expect(revised, f"I3: window {window} was final with {ids}, now {now}")

    def effects(self) -> tuple[list[str], list[str]]:
        """All that was counted, and all that was late, by the server."""
        if self._effects is not None:
            return self._effects
        counted: list[str] = []
        late: list[str] = []
        for slot in self.slots:
            for _, ids in self.windows(slot).values():
                counted += ids - set(counted)
            records = self.server.client.hvals(f"{{{APP}:K:{slot}}}:late")
            late += [msgspec.json.decode(record)["record"]["id"] for record in records]
        counted += self.in_panes() - set(counted)
        self._effects = counted, late
        return counted, late

    def in_panes(self) -> set[str]:
        """What is counted and not yet shown in a window."""
        found: set[str] = set()
        for slot in self.slots:
            tag = f"{{{APP}:K:{slot}}}"
            for field in self.server.client.hkeys(f"{tag}:live"):
                if b"#panes" in field and not isinstance(self.windower, CountWindow):
                    rows = self.server.client.hvals(f"{tag}:s:{field.decode()}")
                    found |= {i for row in rows for ids in msgspec.json.decode(row) for i in ids}
        return found

    def check_durable(self, partition: str, upto: int, what: str) -> None:
        counted, late = self.effects()
        have = {*counted, *late, *(output for output in self.outputs.expected if self.is_skipped(output))}
        p = int(partition[2:])
        below = (i for i in self.outputs.expected if int(i.split(":")[0]) == p and int(i.split(":")[1]) < upto)
        missing = [i for i in below if i not in have]
        expect(not missing, f"I4: {what} of {partition}:{upto} passes {missing}, which the server does not hold")

    def check(self) -> None:
        counted, late = self.effects()
        if not self.skipped and all(self.in_time(output) for output in self.outputs.expected):
            self.check_windows()
        self.check_delivered(late)
        for output, time_ms in self.outputs.expected.items():
            times, lates = counted.count(output), late.count(output)
            least = 0 if self.is_skipped(output) else 1
            expect(least <= times + lates <= 1, f"I1: {output} was counted {times} times and late {lates} times")
            in_time = lates and self.in_time(output)
            expect(not in_time, f"I2: {output} at {time_ms} ms was late although within the bound")

    def is_skipped(self, output: str) -> bool:
        """Passed over by an operator: it need not be counted, but may have been before."""
        return output.rsplit(":", 2)[0] in self.skipped

    def in_time(self, output: str) -> bool:
        """Within the bound, and not of a partition that was idle or that nobody knew of."""
        p, o = (int(x) for x in output.split(":")[:2])
        before = [t for i, t in enumerate(self.topic.logs[p][:o]) if i not in self.topic.gaps[p]]
        within = self.topic.logs[p][o] >= max(before, default=self.topic.logs[p][o]) - self.out_of_order_ms
        return within and not (o >= self._idle_from[p] or f"{p}:" in self.unknown_to)

    def check_windows(self) -> None:
        """Nothing came late: the windows are those of one pass over all outputs, in the order of their times."""
        by_key: dict[int, list[tuple[int, str]]] = {}
        for output, time_ms in self.outputs.expected.items():
            p, o, n, _ = output.split(":")
            by_key.setdefault(self.outputs.keys[f"{p}:{o}"][int(n)], []).append((time_ms, output))
        expected = {
            (key_text(key), *window) for key, mine in by_key.items() for window in one_pass(self.windower, mine)
        }
        found = set()
        for slot in self.slots:
            tag = f"{{{APP}:K:{slot}}}"
            for field, entry in self.server.client.hgetall(f"{tag}:windows").items():
                span = msgspec.json.decode(entry)
                for key, row in self.server.client.hgetall(f"{tag}:w:{field.decode()}").items():
                    ids = frozenset(msgspec.json.decode(row)["ids"])
                    if isinstance(self.windower, CountWindow):
                        found.add((key.decode(), len(ids)))
                    else:
                        found.add((key.decode(), span["start"], span["end"], ids))
        if isinstance(self.windower, CountWindow):
            expected = {(key, size) for key, size in expected}
        expect(found == expected, f"I7: not the windows of one pass: {found ^ expected}")

    def check_delivered(self, late: list[str]) -> None:
        """Each final row that the server holds was sent as it is, and each late record."""
        finals: dict[Any, tuple[int, frozenset[str]]] = {}
        for stream, (_, key, *rest) in self.delivered.values():
            if stream == "final":
                start, end, revision, ids, _ = rest
                sent = revision, frozenset(msgspec.json.decode(ids))
                # Of count windows two may begin and end together.
                at: Any = sent[1] if isinstance(self.windower, CountWindow) else (key_text(key), start, end)
                finals[at] = max(sent, finals.get(at, sent), key=_revision)
        for slot in self.slots:
            tag = f"{{{APP}:K:{slot}}}"
            for field, entry in self.server.client.hgetall(f"{tag}:windows").items():
                span = msgspec.json.decode(entry)
                for key, row in self.server.client.hgetall(f"{tag}:w:{field.decode()}").items():
                    ids = frozenset(msgspec.json.decode(row)["ids"])
                    at = ids if isinstance(self.windower, CountWindow) else (key.decode(), span["start"], span["end"])
                    found = finals.get(at, (None, None))[1]
                    told = f"I8: the final row {key!r} of {span} has {ids}, sent was {found}"
                    expect(span["state"] == "open" or found == ids, told)
        sent_late = {
            msgspec.json.decode(values[5])["id"] for stream, values in self.delivered.values() if stream == "late"
        }
        expect(set(late) <= sent_late, f"I8: late and not sent: {set(late) - sent_late}")


def _revision(sent: tuple[int, frozenset[str]]) -> int:
    return sent[0]
