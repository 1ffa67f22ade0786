"""The settings a topic can have, by the names of Kafka's topic configuration."""

import re

from stormline.embedded.kafka.errors import Code, RefusedError
from stormline.embedded.kafka.log import Limits

_NUMBERS = ("retention.ms", "retention.bytes", "segment.bytes", "max.message.bytes")
_CHOICES = {  # the first one is the default; what stands alone may be named, but nothing else be chosen
    "cleanup.policy": ("delete",),
    "compression.type": ("producer",),
    "message.timestamp.type": ("CreateTime", "LogAppendTime"),
    "min.insync.replicas": ("1",),
}
DEFAULTS = {
    **{name: str(getattr(Limits(), name.replace(".", "_"))) for name in _NUMBERS},
    **{name: choices[0] for name, choices in _CHOICES.items()},
}


def check(settings: dict[str, str]) -> None:
    """RefusedError if a topic cannot have these."""
    for name, value in settings.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            only = " or ".join(_CHOICES[name])
            raise RefusedError(Code.INVALID_CONFIG, f"this development broker only has {name}={only}")
        if name in _NUMBERS and not re.fullmatch(r"-1|\d{1,18}", value):
            raise RefusedError(Code.INVALID_CONFIG, f"{name} must be a number or -1, not {value!r}")
        if name not in DEFAULTS:
            known = ", ".join(DEFAULTS)
            raise RefusedError(Code.INVALID_CONFIG, f"{name!r} is no setting of this broker; it has {known}")


def apply(settings: dict[str, str], limits: Limits) -> None:
    """What a topic's logs obey from now on."""
    for name in _NUMBERS:
        setattr(limits, name.replace(".", "_"), int(settings.get(name, DEFAULTS[name])))
    limits.log_append_time = settings.get("message.timestamp.type") == "LogAppendTime"
