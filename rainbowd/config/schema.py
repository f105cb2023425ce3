"""``rainbowd.schema.json``, by which editors complete and check a config: JSON Schema 2020-12, made from the models.

What a key means is said here, what it should be is said by its field, and its type and default are the field's own.
``python -m rainbowd.config.schema >rainbowd/rainbowd.schema.json`` writes it.
"""

from __future__ import annotations

import json
import sys
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from rainbowd.config.loader import COMMENT, plain
from rainbowd.config.models import Config

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

MEANINGS = {
    "run": "The command that runs the app, in the release: a list, or a string for `sh -c`. {port} {socket} {pidfile} "
    "{release} {generation} are filled in; in a string $1 and $PORT are the port, $2 and $PIDFILE the pidfile.",
    "name": "The app's name in the page's title and `rainbowd status`; null: the name of the config file's directory.",
    "release": "The app's directory or a symlink to it, resolved once for each launch; the app runs in it.",
    "trigger_file": "Create, touch or replace it to deploy the same release again.",
    "listen": "Where clients connect.",
    "ports": "Where the app gets its ports, on 127.0.0.1; two or more, because two generations run during a deploy.",
    "env": "Added to the app's environment. {port} {socket} {pidfile} {release} {generation} are filled in in the "
    "values; $NAME is not.",
    "env_file": "KEY=VALUE lines that are added to the app's environment, read at each deploy; the place for secrets.",
    "health": "How to know that the app is ready: a path that has to answer, or more about that.",
    "health.path": "The path to ask for.",
    "health.host": "The Host that is asked for.",
    "health.headers": "Other headers to send.",
    "health.status": "The status codes that are an answer; redirects are not followed.",
    "health.interval": "Seconds between two checks.",
    "health.timeout": "Seconds for one check.",
    "health.passes": "How many checks have to pass in a row.",
    "health.deadline": "Seconds until the deploy has failed.",
    "health.liveness": "Go on asking what is live, and launch it anew where it is silent.",
    "health.liveness.interval": "Seconds between two checks.",
    "health.liveness.failures": "How many checks have to fail in a row.",
    "warmup": "Seconds to wait instead of a health check; the app must then run and listen.",
    "user": "Whose processes the app and the hooks are, where rainbowd runs as root.",
    "group": "Of which group they are; the user's own where there is none.",
    "drain": "How a generation that is not live any more comes to its end.",
    "drain.timeout": "Seconds for requests in flight, which are then cut, visibly.",
    "drain.tunnels": "Seconds for WebSockets, which are then closed, a few at a time.",
    "drain.stop": "Seconds for requests in flight when rainbowd itself is stopped.",
    "drain.signal": "How the app is told to end.",
    "drain.kill_after": "Seconds from that signal until what is left is killed.",
    "standby": "Seconds that the generation before stays warm, so that the link turned back to it is live at once.",
    "max_generations": "How many may be alive at once; at the limit a deploy waits.",
    "hold": "Requests while nothing is live and a launch is under way; others are answered 503.",
    "hold.timeout": "Seconds that a request may wait.",
    "hold.limit": "How many requests may wait.",
    "limits": "What one client may ask of the proxy.",
    "limits.head_bytes": "The longest head of a request.",
    "limits.headers": "The most header fields of a request.",
    "limits.body_bytes": "The longest body of a request.",
    "limits.connections": "The most connections of all clients.",
    "limits.head_timeout": "Seconds from the first byte of a request to the end of its head.",
    "limits.idle_timeout": "Seconds that a connection is kept without a request.",
    "limits.body_timeout": "Seconds without one byte of the request's body.",
    "limits.response_timeout": "Seconds from the request's end to the head of the app's answer.",
    "hooks": "Commands around a deploy, run in the release; the environment tells them about it (RAINBOWD_...).",
    "hooks.before_launch": "Run before the launch; where it fails, the deploy does.",
    "hooks.after_live": "Run once the new release is live.",
    "hooks.after_failure": "Run once a deploy has failed.",
    "hooks.on_rollback": "Whether a rollback runs before_launch again for a release for which it has succeeded.",
    "hooks.timeout": "Seconds for each of them.",
    "api": "Control over HTTP.",
    "api.enabled": "Whether to listen for it at all.",
    "api.listen": "Where.",
    "api.token_file": "The file with the token that every call needs; null: one that rainbowd makes in state_dir.",
    "trust": "Peers whose X-Forwarded-... fields are believed; one on a Unix socket always is.",
    "state_dir": "Where status.json, journal.jsonl and the lock are.",
    "log": "What is logged, and how.",
    "log.level": "The least that is worth a line.",
    "log.format": "Lines for people, or a JSON object each.",
    "log.access": "A line for every request.",
    "log.app": "Where the app's own lines go.",
}
"""What each key is for."""

_TEXT: Schema = {"type": "string", "minLength": 1}
_WORDS: Schema = {"anyOf": [_TEXT, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_COMMAND_OR_OFF: Schema = {"anyOf": [*_WORDS["anyOf"], {"type": "null"}]}

SHAPES: dict[str, Schema] = {
    "run": _WORDS,
    "hooks.before_launch": _COMMAND_OR_OFF,
    "hooks.after_live": _COMMAND_OR_OFF,
    "hooks.after_failure": _COMMAND_OR_OFF,
    "listen": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
    "user": {"anyOf": [_TEXT, {"type": "integer", "minimum": 0}, {"type": "null"}]},
    "group": {"anyOf": [_TEXT, {"type": "integer", "minimum": 0}, {"type": "null"}]},
}
"""Of the keys whose JSON is not what the model makes of it."""

_JSON: dict[object, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    NoneType: {"type": "null"},
    dict: {"type": "object", "additionalProperties": {"type": "string"}},
    tuple: {"type": "array", "items": _TEXT},
}

DEFAULTS: dict[str, object] = {"listen": "0.0.0.0:7000"}
"""As a person would write them, where the model has them in another form."""


def schema() -> Schema:
    """The whole of it."""
    whole = _object(Config, "")
    whole["properties"] = {"$schema": {"type": "string", "description": "This schema."}, **whole["properties"]}
    return {
        "$schema": DIALECT,
        "title": "rainbowd.json",
        "description": "The config of rainbowd. All times are seconds; relative paths are relative to the file.",
        **whole,
        "oneOf": [
            {"required": ["health"], "properties": {"health": {"not": {"type": "null"}}}},
            {"required": ["warmup"], "properties": {"warmup": {"not": {"type": "null"}}}},
        ],
    }


def _object(model: type[BaseModel], place: str) -> Schema:
    fields = model.model_fields
    found: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field(field, f"{place}{name}") for name, field in fields.items()},
        "patternProperties": {f"^{COMMENT}$": {"description": "A comment, such as a string or a list of strings."}},
    }
    required = [name for name, field in fields.items() if field.is_required()]
    return {**found, "required": required} if required else found


def _field(field: FieldInfo, key: str) -> Schema:
    described = f"{MEANINGS[key]} Expected: {field.description}."
    shape = SHAPES.get(key) or _shape(field.annotation, _bounds(field), key)
    found: Schema = {"description": described, **shape}
    if not field.is_required():
        found["default"] = DEFAULTS.get(key, plain(field.default))
    return found


def _shape(kind: Any, bounds: Schema, key: str) -> Schema:
    """What JSON has for a type, which may be null, a model or a choice; whatever else is written as a string."""
    if get_origin(kind) in {Union, UnionType}:
        shapes = (_shape(one, bounds, key) for one in get_args(kind))
        return {"anyOf": [choice for shape in shapes for choice in shape.get("anyOf", [shape])]}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        inner = _object(kind, f"{key}.")
        return {"anyOf": [{"type": "string", "pattern": "^/"}, inner]} if key == "health" else inner
    if kind in {int, float}:
        return {**_JSON[kind], **bounds}
    return _JSON.get(get_origin(kind) or kind, _TEXT)


def _bounds(field: FieldInfo) -> Schema:
    words = {"ge": "minimum", "gt": "exclusiveMinimum"}
    return {words[name]: getattr(bound, name) for bound in field.metadata for name in words if hasattr(bound, name)}


def text() -> str:
    """The schema as its file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
