"""The types of Config.toml's values: how each is read, and how an editor checks it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema

from coordinator.app.config.model import values
from coordinator.app.config.model.libpq import url_parameters

#: A lease is written as whole milliseconds into 31 bits, and nobody waits a day for a takeover.
INTERVAL_MAX_S = 86_400.0
#: Below this the heartbeats of one group would be the database's main work.
INTERVAL_MIN_S = 0.01
#: A schedule may be slow, but ten years are a slip of the pen.
SCHEDULE_MAX_S = 315_360_000.0


def _readable_url(url: SecretStr) -> SecretStr:
    url_parameters(url.get_secret_value())
    return url


def _json(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_ONE_OR_MORE = _json(anyOf=[_TEXT, _TEXTS])
_NAME = _json(type="string", pattern="^[A-Za-z0-9_.:@-]{1,128}$")
_SECONDS = BeforeValidator(values.duration_s)
_DURATION = _json(
    anyOf=[
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?|\.\d+)\s*(ms|s|m|h|d)?\s*$"},
    ]
)
_PORTS = _json(
    anyOf=[
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": r"^\s*\d+\s*(,\s*\d+\s*)*$"},
        {"type": "array", "items": {"type": ["integer", "string"]}, "minItems": 1},
    ]
)
_VALUES = {"type": ["string", "integer"]}
_TASK_NAME = _json(type="string", pattern="^[A-Za-z0-9.:@-][A-Za-z0-9_.:@-]{0,126}$")
_SCHEMA_NAME = _json(type="string", pattern="^[a-z_][a-z0-9_]{0,30}$")
_NODE_NAME = _json(type="string", pattern="^[A-Za-z0-9_.:@{}-]{1,128}$")

Interval = Annotated[float, _SECONDS, Field(ge=INTERVAL_MIN_S, le=INTERVAL_MAX_S), _DURATION]
Wait = Annotated[float, _SECONDS, Field(ge=0, le=INTERVAL_MAX_S), _DURATION]
ScheduleInterval = Annotated[
    float, _SECONDS, Field(ge=INTERVAL_MIN_S, le=SCHEDULE_MAX_S), _DURATION
]
Moment = Annotated[datetime, BeforeValidator(values.moment), _json(type="string", minLength=10)]
Count = Annotated[int, BeforeValidator(values.whole)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(values.hosts), _ONE_OR_MORE]
Ports = Annotated[tuple[str, ...], BeforeValidator(values.ports), _PORTS]
Command = Annotated[tuple[str, ...] | str, BeforeValidator(values.command), _ONE_OR_MORE]
Embedded = Annotated[
    bool | str, BeforeValidator(values.embedded), _json(anyOf=[{"type": "boolean"}, _TEXT])
]
NodeName = Annotated[str, AfterValidator(values.node_name), _NODE_NAME]
GroupName = Annotated[str, AfterValidator(values.name), _NAME]
OtherNode = Annotated[str, AfterValidator(values.name), _NAME]
NodeNames = Annotated[tuple[OtherNode, ...], BeforeValidator(values.distinct_names), _ONE_OR_MORE]
TaskName = Annotated[str, AfterValidator(values.task_name), _TASK_NAME]
Variables = Annotated[
    dict[str, str],
    BeforeValidator(values.variables),
    _json(type="object", additionalProperties=_VALUES),
]
Options = Annotated[dict[str, Any], BeforeValidator(values.options), _json(type="object")]
SchemaName = Annotated[str, AfterValidator(values.schema_name), _SCHEMA_NAME]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(values.lower)]
Url = Annotated[SecretStr, AfterValidator(_readable_url)]
CallablePath = Annotated[str, AfterValidator(values.callable_path)]
HttpUrl = Annotated[
    str, AfterValidator(values.http_url), _json(type="string", pattern="^https?://")
]
WebhookUrl = Annotated[
    str, AfterValidator(values.webhook_url), _json(type="string", pattern="^https?://")
]
Address = Annotated[str, AfterValidator(values.address)]
NodeAddress = Annotated[
    str, AfterValidator(values.node_address), _json(type="string", pattern=r"^[!-~]{1,255}$")
]
TokensAddress = Annotated[str, AfterValidator(values.local_address)]
Cron = Annotated[str, AfterValidator(values.cron)]
Timezone = Annotated[str, AfterValidator(values.timezone)]
