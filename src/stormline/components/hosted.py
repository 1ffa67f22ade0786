"""What all components of ours share: settings as class attributes, checked when the class is made.

A component is a parameterless class of streamparse's (so its DSL and its submit know it), but it is driven by a host
(`components.host`), not by pystorm's loop; so pystorm's constructor, which opens stdin and stdout, is not called.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from stormline.components.host import Host
from stormline.core.errors import SettingsError
from stormline.core.record import Record

Check = Callable[[Any], object]
"""Raises ValueError or TypeError, with what is wrong, for a value that will not do."""


class Hosted:
    """A component that is driven by a host."""

    settings: ClassVar[Mapping[str, Check]] = {}
    """Every setting of this kind of component, with its check."""

    due_ms: int | None = None
    host: Host

    def __init__(self, *, serializer: str = "json") -> None:
        """`serializer` is what Storm's launcher of stock components passes; nothing is opened here."""

    @classmethod
    def make(cls) -> Self:
        """An instance for a host to prepare."""
        return cls()

    def run(self) -> None:
        """What Storm's launcher of stock components (`streamparse_run`) calls; it has imported the user's code before.
        Never returns."""
        from stormline.multilang.loop import serve  # the loop hosts components; here is the way into it

        out = os.dup(1)
        os.dup2(2, 1)
        serve(self, out)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "settings" in vars(cls):
            return  # a kind of component of ours: it declares, its subclasses set
        kind = next(base for base in cls.__mro__ if "settings" in vars(base))
        faults = []
        for name, value in vars(cls).items():
            check = cls.settings.get(name)
            if check is not None:
                try:
                    check(value)
                except (ValueError, TypeError) as error:
                    faults.append(f"{name} = {value!r}: {error}")
            elif not name.startswith("_") and not isinstance(value, (classmethod, staticmethod, property)):
                method = callable(value) and getattr(value, "__name__", "") == name
                near = difflib.get_close_matches(name, cls.settings, n=1, cutoff=0.8)
                if near and not method and name not in _STOCK:
                    faults.append(f"{name} is no setting of a {kind.__name__}; did you mean {near[0]}?")
        if faults:
            where = sys._getframe(1)
            place = f"{cls.__name__} ({where.f_code.co_filename}:{where.f_lineno})"
            raise SettingsError(*[f"{place}: {fault}" for fault in faults])


_STOCK = frozenset({"outputs", "config", "par", "name", "settings"})
"""Attributes of streamparse's own classes."""


def required(cls: type[Hosted], *names: str) -> list[str]:
    """A fault for each setting that this component must have and lacks."""
    return [f"{cls.__name__} needs the setting {name}" for name in names if getattr(cls, name, None) is None]


def text(value: Any) -> None:
    """Check: a text with something in it."""
    if not isinstance(value, str) or not value:
        raise ValueError("give a text that is not empty")


def record_schema(value: Any) -> None:
    """Check: a schema."""
    if not (isinstance(value, type) and issubclass(value, Record)):
        raise ValueError("give a subclass of stormline.Record")


def positive(value: Any) -> None:
    """Check: a whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("give a whole number above 0")


def topics_setting(value: Any) -> None:
    """Check: the topics of a spout."""
    if isinstance(value, re.Pattern):
        return
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(each, str) and each for each in names):
        raise ValueError('give a topic, several as ["orders", "returns"], or a pattern as re.compile("orders-.*")')
    if len(set(names)) < len(names):
        raise ValueError("a topic is named twice")
