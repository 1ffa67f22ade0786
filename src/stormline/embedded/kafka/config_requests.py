"""The requests about settings: those of topics, which may be changed, and the few of the broker, which may not."""

from typing import Any

from stormline.embedded.kafka import settings
from stormline.embedded.kafka.broker import Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.errors import Code, RefusedError, attempt

Answer = dict[str, Any]
_TOPIC, _BROKER = 2, 4  # resource types
_FROM_TOPIC, _FROM_DEFAULT = 1, 5  # where a setting comes from
_SET, _DELETE = 0, 1  # operations
_BROKER_SETTINGS = {"auto.create.topics.enable": "false", "message.max.bytes": settings.DEFAULTS["max.message.bytes"]}


async def describe_configs(broker: Broker, request: Any, header: Header) -> Answer:
    """The settings of topics, and the few of the broker."""
    return {"results": [
        attempt({"resource_type": row.resource_type, "resource_name": row.resource_name, "error_message": None},
                _settings_of, broker, row)
        for row in request.resources
    ]}  # fmt: skip


def _settings_of(broker: Broker, row: Any) -> Answer:
    if row.resource_type == _TOPIC:
        rows = described(broker.catalog.topic(row.resource_name).settings)
    elif row.resource_type == _BROKER:
        rows = [each | {"read_only": True} for each in described({}, _BROKER_SETTINGS)]
    else:
        raise RefusedError(Code.INVALID_REQUEST, "only topics and brokers have settings here")
    wanted = row.configuration_keys
    return {"configs": [each for each in rows if wanted is None or each["name"] in wanted]}


def described(given: dict[str, str], defaults: dict[str, str] = settings.DEFAULTS) -> list[Answer]:
    """Every setting with its value, and whether it was given."""
    return [
        {
            "name": name,
            "value": given.get(name, default),
            "config_source": _FROM_TOPIC if name in given else _FROM_DEFAULT,
            "read_only": False,
        }
        for name, default in defaults.items()
    ]


async def incremental_alter_configs(broker: Broker, request: Any, header: Header) -> Answer:
    """Set settings of topics, or take them back to their defaults, or only say whether that would be possible."""
    return {"responses": [
        attempt({"resource_type": row.resource_type, "resource_name": row.resource_name, "error_message": None},
                _alter, broker, row, validate_only=request.validate_only)
        for row in request.resources
    ]}  # fmt: skip


def _alter(broker: Broker, row: Any, *, validate_only: bool) -> Answer:
    if row.resource_type != _TOPIC:
        raise RefusedError(Code.INVALID_REQUEST, "only the settings of topics can be changed here")
    changed = dict(broker.catalog.topic(row.resource_name).settings)
    for config in row.configs:
        if config.config_operation == _SET:
            changed[config.name] = config.value or ""
        elif config.config_operation == _DELETE:
            changed.pop(config.name, None)
        else:
            raise RefusedError(Code.INVALID_CONFIG, f"{config.name} is no list to which something can be added")
    settings.check(changed)
    if not validate_only:
        broker.stored(broker.catalog.alter, row.resource_name, changed)
    return {}
