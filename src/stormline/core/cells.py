"""State by key for a user's own function: what a record or a timer does to it, and what is sent because of it.

A cell is kept as the JSON in which it is stored. The user's function works on a copy, so that if it raises half-way
nothing has changed, and nothing of it can be changed from outside afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import msgspec

from stormline.core.aggregate import written
from stormline.core.dues import Dues
from stormline.core.duration import duration_ms
from stormline.core.outbox import Fault, Outbox
from stormline.core.requests import LoadedWindow, WindowChange
from stormline.core.slot import key_value
from stormline.core.table import KEYED_STATE, Row, Rules, Undo
from stormline.core.window import FAR_MS, Span

DEFAULT = "default"
EVENT, PROCESSING = "event", "processing"


class Timer:
    """Yield it to be called back, once: `on_timer` of the same key, when the watermark or the clock has come so far.

    A key has one timer of a name: setting it again moves it. `at`: a datetime, or ms since the epoch. `after`: a
    duration from the time of the record, or of the timer that is being called; with `time="processing"`, from now.
    """

    def __init__(
        self,
        name: str,
        *,
        at: datetime | int | None = None,
        after: str | timedelta | None = None,
        time: str = EVENT,
    ) -> None:
        if (at is None) == (after is None):
            raise ValueError(f"the timer {name} needs one of at and after")
        if time not in (EVENT, PROCESSING):
            raise ValueError(f"the timer {name}: {time!r} is no kind of time; say event or processing")
        if not isinstance(name, str):
            raise TypeError(f"the name of a timer is {name!r}; give a text")
        if at is not None and (not isinstance(at, datetime | int) or isinstance(at, bool)):
            raise TypeError(f"the timer {name} is set for {at!r}; give a datetime, or whole ms since the epoch")
        self.name, self.at, self.after, self.time = name, at, after, time

    def due_ms(self, time_ms: int, now_ms: int) -> int:
        """When it is due, set at this event time and this wall time."""
        if self.after is not None:
            return (now_ms if self.time == PROCESSING else time_ms) + duration_ms(self.after)
        if isinstance(self.at, datetime):
            return int(self.at.timestamp() * 1000) if self.at.tzinfo else _utc_ms(self.at)
        assert self.at is not None
        return self.at


class Cancel(NamedTuple):
    """Yield it to have a timer of the key forgotten."""

    name: str


class Called(NamedTuple):
    """A timer that is due."""

    name: str
    key: Any
    """The key's JSON value; None for a bolt without a key."""
    time_ms: int
    """For when it was set, ms since the epoch."""


class Forget:
    """Yield it to have the key's state and timers removed."""


class Process(NamedTuple):
    """What the user's settings of a bolt with keyed state come to; it stands where a window stands in other bolts."""

    state: type[msgspec.Struct]
    process: Callable[[Any, Any], Iterable[Any] | None]
    """(record, state) -> what is yielded."""
    on_timer: Callable[[Called, Any], Iterable[Any] | None]
    schema: type[msgspec.Struct] | None
    """What it sends; None: nothing."""
    expire_ms: int | None
    """A key without a record for so much event time is forgotten; None: never."""
    name: str = KEYED_STATE


class _Cell(NamedTuple):
    state: bytes
    timers: dict[str, tuple[int, str]]
    """Name -> (due, kind of time)."""
    at_ms: int
    """The latest event time of its records."""


class Cells:
    """The cells of one slot."""

    def __init__(self, rules: Rules, process: Process) -> None:
        self._rules = rules
        self._process = process
        self._decode = msgspec.json.Decoder(process.state).decode
        self._cells: dict[str, _Cell] = {}
        self._dirty: set[str] = set()
        self._removed: set[str] = set()
        self._due = {EVENT: Dues(), PROCESSING: Dues()}
        """Kind of time -> timers."""
        self._ages = Dues()
        """When a key may be expired; the name is empty."""
        self.open_of_keys = 0
        """Timers of event time."""
        self.now_ms = 0
        """Wall-clock time, as far as it was told."""

    def load(self, stored: LoadedWindow) -> None:
        for key, state in stored.results.items():
            timers, at_ms = msgspec.json.decode(stored.states[key], type=tuple[dict[str, tuple[int, str]], int])
            self._put(key, _Cell(state.encode(), timers, at_ms))

    def _put(self, key: str, cell: _Cell) -> None:
        for name, (due_ms, kind) in cell.timers.items():
            self._due[kind].put((key, name), due_ms)
        if self._process.expire_ms is not None:
            self._ages.put((key, ""), cell.at_ms + self._process.expire_ms)
        self._keep(key, cell)
        self._removed.discard(key)

    def _keep(self, key: str, cell: _Cell | None) -> None:
        """None: nothing of the key."""
        before = self._cells.pop(key, None)
        for each, count in (before, -1), (cell, 1):
            if each is not None and each.timers:
                self.open_of_keys += count * sum(kind == EVENT for _, kind in each.timers.values())
        if cell is not None:
            self._cells[key] = cell

    def add(self, partition: str, row: Row, outbox: Outbox, watermark_ms: int | None, undo: Undo | None) -> bool:
        _, time_ms, value, key = row
        before = self._cells.get(key)
        state = self._state(before)
        yielded = _yielded(self._process.process(value, state))
        number = outbox.next_number
        at_ms = time_ms if before is None else max(before.at_ms, time_ms)
        self._change(key, before, state, yielded, time_ms, at_ms, outbox)
        if undo is not None:
            undo.append(partial(self._take_back, key, before, outbox, number))
        return True

    def _state(self, cell: _Cell | None) -> Any:
        return self._process.state() if cell is None else self._decode(cell.state)

    def _change(
        self,
        key: str,
        before: _Cell | None,
        state: Any,
        yielded: list[Any],
        time_ms: int,
        at_ms: int,
        outbox: Outbox,
        called: str | None = None,
    ) -> None:
        """What the user's function has made of a cell. What can be wrong with it is found before anything changes."""
        timers = dict(before.timers) if before is not None else {}
        if called is not None:
            del timers[called]
        sent, forget = [], False
        for each in yielded:
            match each:
                case Timer():
                    due_ms = each.due_ms(time_ms, self.now_ms)
                    if not -FAR_MS < due_ms < FAR_MS:
                        raise ValueError(f"the timer {each.name} is set for {due_ms} ms since the epoch")
                    if each.name == called and due_ms <= (self.now_ms if each.time == PROCESSING else time_ms):
                        raise ValueError(
                            f"the timer {called} sets itself for no later time: it would be called for ever"
                        )
                    timers[each.name] = (due_ms, each.time)
                case Cancel():
                    timers.pop(each.name, None)
                case Forget():
                    forget = True
                case _ if self._process.schema is not None and isinstance(each, self._process.schema):
                    sent.append([msgspec.to_builtins(getattr(each, f)) for f in each.__struct_fields__])
                case _:
                    raise TypeError(
                        f"{each!r} was yielded; a bolt yields records of its schema "
                        f"({getattr(self._process.schema, '__name__', 'it has none')}), Timer, Cancel or Forget"
                    )
        cell = _Cell(written(state), timers, at_ms)
        self._require_readable(cell.state)
        for values in sent if DEFAULT in self._rules.streams else ():
            outbox.put(DEFAULT, values)
        if forget:
            self._remove(key)
        else:
            self._put(key, cell)
            self._dirty.add(key)

    def _require_readable(self, state: bytes) -> None:
        """Else this record would count, and each later one of its key be broken."""
        try:
            self._decode(state)
        except msgspec.ValidationError as error:
            name = self._process.state.__name__
            raise TypeError(f"{name} cannot be kept as {state.decode()}, it could not be read again: {error}") from None

    def _remove(self, key: str) -> None:
        if key in self._cells:
            self._keep(key, None)
            self._removed.add(key)
        self._dirty.discard(key)

    def _take_back(self, key: str, before: _Cell | None, outbox: Outbox, number: int) -> None:
        """What is due too early does no harm."""
        outbox.take_back(number)
        if before is None:
            self._keep(key, None)
            self._dirty.discard(key)
            self._removed.add(key)  # as it may have been before: the store still has what was removed
        else:
            self._put(key, before)
            self._dirty.add(key)

    def close(self, watermark_ms: int, outbox: Outbox) -> bool:
        return self._fire(EVENT, watermark_ms, outbox) | self._expire(watermark_ms)

    def on_clock(self, now_ms: int, outbox: Outbox) -> bool:
        """Wall time is `now_ms`; whether anything is to be flushed because of it."""
        self.now_ms = now_ms
        return self._fire(PROCESSING, now_ms, outbox)

    def _fire(self, kind: str, upto_ms: int, outbox: Outbox) -> bool:
        due, fired = self._due[kind], False
        while (place := due.take(upto_ms)) is not None:
            key, name = place
            cell = self._cells.get(key)
            due_ms, set_for = (0, "") if cell is None else cell.timers.get(name, (0, ""))
            if cell is None or set_for != kind:
                continue  # it was cancelled, or the key forgotten
            if due_ms > upto_ms:
                due.put(place, due_ms)
            elif kind == EVENT and self._expires_ms(cell) < due_ms:  # however far the watermark has come at once
                self._remove(key)
                fired = True
            else:
                self._call(key, cell, name, due_ms, outbox)
                fired = True
        return fired

    def _expires_ms(self, cell: _Cell) -> int:
        return FAR_MS if self._process.expire_ms is None else cell.at_ms + self._process.expire_ms

    def _call(self, key: str, cell: _Cell, name: str, due_ms: int, outbox: Outbox) -> None:
        state = self._state(cell)
        try:
            yielded = _yielded(self._process.on_timer(Called(name, key_value(key), due_ms), state))
            self._change(key, cell, state, yielded, due_ms, cell.at_ms, outbox, called=name)
        except Exception as error:  # user code may raise anything; it is not called again for this
            outbox.faults.append(Fault(key, f"the timer {name}", error))
            self._keep(key, cell._replace(timers={n: t for n, t in cell.timers.items() if n != name}))
            self._dirty.add(key)

    def _expire(self, watermark_ms: int) -> bool:
        expired = False
        while (place := self._ages.take(watermark_ms)) is not None:
            key, _ = place
            cell = self._cells.get(key)
            if cell is None:
                continue
            if self._expires_ms(cell) > watermark_ms:
                self._ages.put(place, self._expires_ms(cell))
            else:
                self._remove(key)
                expired = True
        return expired

    def take(self, outbox: Outbox, watermark_ms: int | None) -> list[WindowChange]:
        if not self._dirty and not self._removed:
            return []
        cells = {key: self._cells[key] for key in self._dirty}
        states = {key: written([cell.timers, cell.at_ms]).decode() for key, cell in cells.items()}
        results = {key: cell.state.decode() for key, cell in cells.items()}
        removed = sorted(self._removed)
        self._dirty, self._removed = set(), set()
        return [WindowChange(self._process.name, "0", 0, FAR_MS, False, 0, results, states, "live", removed)]

    def send_unsent(self, outbox: Outbox) -> bool:
        return False

    @property
    def last_end_ms(self) -> int | None:
        cells, none = self._cells, (0, "")
        timers = [cells[key].timers.get(name, none) for key, name in self._due[EVENT] if key in cells]
        return max((due_ms for due_ms, kind in timers if kind == EVENT), default=None)

    @property
    def open(self) -> set[Span]:
        return set()


def _yielded(returned: Iterable[Any] | None) -> list[Any]:
    if returned is not None and not isinstance(returned, Iterable):
        raise TypeError(f"{returned!r} was returned; what is to be sent, and timers, are yielded")
    return list(returned or ())


def _utc_ms(naive: datetime) -> int:
    return (naive - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
