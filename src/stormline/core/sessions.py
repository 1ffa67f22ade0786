"""Session windows: each key has its own, from its first record to the gap behind its last one.

A record that falls into a session, or less than the gap before its first or behind its last record, belongs to it; one
that joins two makes them one. A session that is final and gets a late record is revised, and is open again if it now
reaches past the watermark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from stormline.core.dues import Dues
from stormline.core.outbox import Outbox
from stormline.core.requests import LoadedWindow, WindowChange
from stormline.core.table import Row, Rules, Undo, Window, send_changes, send_unsent, stage_of, update
from stormline.core.trigger import When
from stormline.core.window import FAR_MS, Session, Span


class Sessions:
    """The sessions of one slot."""

    def __init__(self, rules: Rules, windower: Session) -> None:
        self._rules = rules
        self._windower = windower
        self._plain = rules.trigger is None and not rules.aggregation.needs_place
        self._add = rules.aggregation.add
        self._sessions: dict[str, list[Window]] = {}
        """Key -> its sessions, at most a few."""
        self.open_of_keys = 0
        self._dirty: dict[str, Window] = {}
        """By their ids."""
        self._gone: dict[str, Window] = {}
        """Sessions that the store may have and that are parts of others now."""
        self._dues = Dues()
        """(Key, id) of each session that has not been over, for its end or for when it is over."""

    def load(self, stored: LoadedWindow) -> None:
        window = Window.loaded(self._rules, stored)
        self._put(_key(stored.id), window)

    def _put(self, key: str, window: Window) -> None:
        sessions = self._sessions.setdefault(key, [])
        sessions.append(window)
        if len(sessions) > 1 and sessions[-2].span.start_ms > window.span.start_ms:
            sessions.sort(key=_start_ms)
        self.open_of_keys += not window.final
        self._queue(key, window)

    def _queue(self, key: str, window: Window) -> None:
        """For its end, or when it is final for when it is over."""
        lateness_ms = self._rules.allowed_lateness_ms if window.final else 0
        self._dues.put((key, window.id), window.span.end_ms + lateness_ms)

    def add(self, partition: str, row: Row, outbox: Outbox, watermark_ms: int | None, undo: Undo | None) -> bool:
        offset, time_ms, value, key = row
        rules, end_ms = self._rules, time_ms + self._windower.gap_ms
        sessions = self._sessions.get(key, ())
        if sessions and undo is None and self._plain:  # it is nearly always this one
            latest = sessions[-1]
            start_ms, latest_ms = latest.span
            if start_ms <= time_ms < latest_ms and not latest.final:
                latest.rows[key] = self._add(latest.rows[key], value)
                if end_ms > latest_ms:
                    latest.span = _span(Span, (start_ms, end_ms))
                if not latest.dirty:
                    latest.dirty.add(key)
                    self._dirty[latest.id] = latest
                return True
        joined: list[Window] = []
        over_ms = -FAR_MS if watermark_ms is None else watermark_ms - rules.allowed_lateness_ms
        for session in reversed(sessions):
            if session.span.end_ms <= max(time_ms, over_ms):  # what is over is no more, though no flush has said so yet
                break
            if session.span.start_ms < end_ms:
                joined.append(session)
        if not joined and end_ms <= over_ms:
            return False
        if len(joined) > 1:
            joined.reverse()
        before = reduce(rules.aggregation.merge, [session.rows[key] for session in joined]) if joined else None
        after = rules.fold(before, value, (time_ms, partition, offset))
        if len(joined) == 1 and undo is None and joined[0].span.start_ms <= time_ms:
            (window,) = joined
            span = Span(window.span.start_ms, max(end_ms, window.span.end_ms))
        else:
            start_ms = min([time_ms, *(s.span.start_ms for s in joined)])
            span = Span(start_ms, max([end_ms, *(s.span.end_ms for s in joined)]))
            window = Window(f"{start_ms}@{key}", span, revision=max((s.revision for s in joined), default=0))
            if joined:
                window.fired = set().union(*(s.fired for s in joined))
                window.unsent = set().union(*(s.unsent for s in joined))
        number = outbox.next_number
        if update(rules, self._windower, window, key, after, outbox):
            window.fired.add(key)
        if undo is not None:
            undo.append(self._memory(key, {window.id, *(s.id for s in joined)}, outbox, number))
        window.span = span
        window.revised = window.revised or any(s.final or s.revised for s in joined)
        self._extend(key, window, joined, watermark_ms)
        window.rows[key] = after
        window.dirty.add(key)
        self._dirty[window.id] = window
        self._gone.pop(window.id, None)
        return True

    def _extend(self, key: str, window: Window, joined: list[Window], watermark_ms: int | None) -> None:
        """`window` stands for these from now on."""
        final = watermark_ms is not None and watermark_ms >= window.span.end_ms
        if [window] == joined:
            self.open_of_keys += window.final and not final
            window.final, window.told = final, window.told and final
            self._queue(key, window)
            return
        window.final = final
        if joined:
            self._sessions[key] = [session for session in self._sessions[key] if session not in joined]
        for session in joined:
            self.open_of_keys -= not session.final
            self._dirty.pop(session.id, None)
            if session.id != window.id:
                self._gone[session.id] = session
        self._put(key, window)

    def _memory(self, key: str, ids: set[str], outbox: Outbox, number: int) -> Callable[[], None]:
        """A step that brings back what is here now of a key. A session too much in the dues does no harm."""
        sessions = list(self._sessions.get(key, ()))
        dirty = {id_: self._dirty[id_] for id_ in ids & self._dirty.keys()}
        gone = {id_: self._gone[id_] for id_ in ids & self._gone.keys()}

        def take_back() -> None:
            outbox.take_back(number)
            self.open_of_keys += _open(sessions) - _open(self._sessions[key])
            self._sessions[key] = sessions
            for kept, before in (self._dirty, dirty), (self._gone, gone):
                for id_ in ids:
                    kept.pop(id_, None)
                kept.update(before)

        return take_back

    def close(self, watermark_ms: int, outbox: Outbox) -> bool:
        lateness_ms = self._rules.allowed_lateness_ms
        closed = False
        while (place := self._dues.take(watermark_ms)) is not None:
            key, id_ = place
            window = next((s for s in self._sessions.get(key, ()) if s.id == id_), None)
            if window is None:
                continue  # a part of another one by now
            over = watermark_ms >= window.span.end_ms + lateness_ms
            if window.close(watermark_ms):
                self.open_of_keys -= 1
                self._dirty[id_] = window
                closed = True
            if over:
                self._dirty[id_] = window
                closed = True
            else:
                self._queue(key, window)
        return closed

    def take(self, outbox: Outbox, watermark_ms: int | None) -> list[WindowChange]:
        over_ms = None if watermark_ms is None else watermark_ms - self._rules.allowed_lateness_ms
        changes = [
            WindowChange(self._windower.name, id_, *gone.span, gone.final, gone.revision, {}, {}, "gone")
            for id_, gone in self._gone.items()
        ]
        rules, name = self._rules, self._windower.name
        rows = {id_: window.rows[_key(id_)] for id_, window in self._dirty.items() if window.dirty}
        shown = rows
        if isinstance(rules.trigger, When):
            shown = {id_: row for id_, row in rows.items() if self._dirty[id_].fired}
        results = rules.aggregation.write_results(shown)
        with_state = isinstance(rules.trigger, When) or rules.aggregation.needs_state
        states = rules.aggregation.write_states(rows) if with_state else {}
        for id_, window in self._dirty.items():
            key, span = _key(id_), window.span
            if window.revised:
                window.revision += 1
                window.revised = False
            if rules.streams:
                send_changes(rules, self._windower, window, {key: rows[id_]} if id_ in shown else {}, outbox)
            window.dirty, window.changed = set(), False
            over = over_ms is not None and over_ms >= span.end_ms
            changes.append(
                WindowChange(
                    name,
                    id_,
                    span.start_ms,
                    span.end_ms,
                    window.final,
                    window.revision,
                    {key: results[id_]} if id_ in results else {},
                    {key: states[id_]} if id_ in states else {},
                    stage_of(rules, window, over=over),
                )
            )
            if over:
                self._forget(key, id_)
        self._dirty, self._gone = {}, {}
        return changes

    def _forget(self, key: str, id_: str) -> None:
        sessions = self._sessions[key]
        for at, session in enumerate(sessions):  # it is mostly the first
            if session.id == id_:
                del sessions[at]
                break
        if not sessions:
            del self._sessions[key]

    def send_unsent(self, outbox: Outbox) -> bool:
        windows = [window for sessions in self._sessions.values() for window in sessions if window.unsent]
        sent = [send_unsent(self._rules, self._windower, window, window.rows, outbox) for window in windows]
        return any(sent)

    @property
    def last_end_ms(self) -> int | None:
        ends = (session.span.end_ms for sessions in self._sessions.values() for session in sessions)
        return max(ends, default=None)

    @property
    def open(self) -> set[Span]:
        return set()


_span = tuple.__new__
"""A Span of a tuple, in a third of the time that its own constructor takes."""


def _key(id_: str) -> str:
    return id_.partition("@")[2]


def _open(sessions: list[Window]) -> int:
    return sum(not session.final for session in sessions)


def _start_ms(session: Window) -> int:
    return session.span.start_ms
