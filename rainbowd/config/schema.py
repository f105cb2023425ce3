"""``rainbowd.schema.json``, with which editors complete and check a config: JSON Schema 2020-12, made from the models.

The meaning of each key is in this file; the valid values, the type and the default are those of its field.
``python -m rainbowd.config.schema >rainbowd/rainbowd.schema.json`` writes it.
"""

from __future__ import annotations

import json
import sys
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from rainbowd.config.loader import COMMENT
from rainbowd.config.models import Config
from rainbowd.config.redaction import redacted
from rainbowd.config.types import PROCESS_NAME

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

MEANINGS = {
    "run": "The command that runs the app, in the release: a list, or a string for `sh -c`. {port}, {socket}, "
    "{pidfile}, {release} and {generation} are replaced. In a string, $1 and $PORT are the port, $2 and $PIDFILE the "
    "pidfile, and $SOCKET is the socket.",
    "name": "The app's name in `rainbowd status` and in the title of the dashboard; null: the name of the directory of "
    "the config file.",
    "release": "The app's directory, or a symlink to it. The symlink is resolved once for each generation, which runs "
    "in that directory.",
    "trigger_file": "Create, touch or replace this file to deploy the same release again; null turns it off.",
    "listen": "The addresses where clients connect.",
    "ports": "The range from which apps get their ports, on 127.0.0.1: at least two, because two generations run "
    "during a deploy.",
    "env": "Variables added to the app's environment. {port}, {socket}, {pidfile}, {release} and {generation} are "
    "replaced in the values; $NAME is not.",
    "env_file": "A file of KEY=VALUE lines, added to the app's environment, read at each deploy; for secrets.",
    "health": "The health check that a new generation must pass before it goes live: a path, or an object.",
    "health.path": "The path to request.",
    "health.host": "The Host field to send.",
    "health.headers": "More fields to send.",
    "health.status": "The status codes that pass; redirects are not followed.",
    "health.interval": "Seconds between two checks.",
    "health.timeout": "Seconds for one check.",
    "health.passes": "How many checks in a row must pass.",
    "health.deadline": "Seconds after which the deploy fails.",
    "health.liveness": "Keep checking the live generation; if it fails, the same release is launched again and "
    "replaces it.",
    "health.liveness.interval": "Seconds between two checks.",
    "health.liveness.failures": "How many checks in a row must fail.",
    "warmup": "Seconds to wait instead of checking; after that, the app must be running and listening.",
    "user": "The user that the app and the hooks run as, when rainbowd runs as root; null: the agent's own.",
    "group": "The group that the app and the hooks run as; null: the user's own group.",
    "drain": "How a generation ends after it was replaced.",
    "drain.timeout": "Seconds for its requests in flight; requests that still run after that are cut off visibly.",
    "drain.tunnels": "Seconds for its WebSockets, which are then closed over 5 seconds.",
    "drain.stop": "Seconds for requests in flight when rainbowd itself stops.",
    "drain.signal": "The signal that makes the app exit.",
    "drain.kill_after": "Seconds from that signal until the remaining processes are killed.",
    "standby": "Seconds that the previous generation keeps running after a switch; a rollback to it is instant.",
    "bake": "The watch over a release after it went live: if it fails, the previous generation is live again. A number "
    "is the seconds; 0 turns it off.",
    "bake.seconds": "How long a release is watched; its deploy is decided after that.",
    "bake.max_error_rate": "The lowest error rate that fails, from 0 to 1, if it is also twice the rate before.",
    "bake.min_errors": "The smallest number of errors that fails.",
    "canary": "The shares of the traffic that a release gets before it goes live.",
    "canary.steps": "Rising percentages of the clients, such as [5, 25]; an empty list turns the canary off.",
    "canary.seconds": "How long each step lasts.",
    "canary.by": "How clients are told apart: client (their address), cookie:NAME or header:NAME.",
    "workers": "How many processes serve requests, the agent included; auto: one for each core, at most 8.",
    "max_generations": "The number of generations that can run at once; at the limit, a standby is stopped early, "
    "otherwise the deploy waits.",
    "hold": "How many requests wait, and how long, while nothing is live and a launch is in progress; then 503.",
    "hold.timeout": "Seconds that a request waits.",
    "hold.limit": "How many requests wait at once.",
    "limits": "What the proxy accepts from clients; null turns a limit off.",
    "limits.head_bytes": "The size of a request's head; more is answered 431.",
    "limits.headers": "The number of fields in a request's head; more is answered 431.",
    "limits.body_bytes": "The size of a request's body; more is answered 413.",
    "limits.connections": "The number of client connections at once.",
    "limits.head_timeout": "Seconds from the first byte of a request to the end of its head.",
    "limits.idle_timeout": "Seconds that a connection stays open between two requests.",
    "limits.body_timeout": "Seconds without a byte of the request's body.",
    "limits.response_timeout": "Seconds from the end of a request to the head of the app's answer; then 504.",
    "hooks": "Commands around a deploy, run in the release; variables named RAINBOWD_... describe the deploy.",
    "hooks.before_launch": "Runs before the app starts; if it fails, the deploy fails.",
    "hooks.after_live": "Runs after the switch; if it fails, the log has a warning.",
    "hooks.after_failure": "Runs after a failed deploy.",
    "hooks.fetch": "Runs if the release of a fleet's rollout does not exist on this machine; it must create the whole "
    "directory $RAINBOWD_RELEASE.",
    "hooks.on_rollback": "Whether a rollback runs before_launch again if it has succeeded for that release before.",
    "hooks.timeout": "Seconds for each hook; after that, the hook and everything it started are stopped.",
    "processes": "Companion processes such as workers and schedulers, by name. They start when their generation goes "
    "live, and end when it is replaced.",
    "processes.*.run": "The command, in the form of the app's run; {release}, {generation} and {pidfile} are replaced.",
    "processes.*.instances": "How many run at once.",
    "processes.*.overlap": "false: the new ones start only after those of the previous generation have ended.",
    "processes.*.stop": "How they are asked to end.",
    "processes.*.stop.signal": "The signal that asks them to end.",
    "processes.*.stop.kill_after": "Seconds from that signal until they are killed.",
    "processes.*.env": "Variables added to those of the app.",
    "api": "The REST API, which is off by default.",
    "api.enabled": "Whether the API is on; the option --enable-api turns it on too.",
    "api.listen": "The address of the API; one other than loopback needs a token_file.",
    "api.token_file": "The file that contains the token; null: rainbowd creates one in state_dir.",
    "fleet": "The fleet of machines that this one deploys with; null: this machine alone.",
    "fleet.name": "The name of the fleet, the same on each machine.",
    "fleet.endpoints": "The nodes of etcd.",
    "fleet.insecure": "Whether an endpoint can be plain http on another machine.",
    "fleet.prefix": "The prefix of the fleet's keys in etcd; the fleet's name follows it.",
    "fleet.member": "The unique name of this machine in the fleet; null: the name of the host.",
    "fleet.rank": "The order of the members in the waves, before their names; the lowest is the canary.",
    "fleet.user": "The user of etcd.",
    "fleet.password_file": "The file that contains the user's password.",
    "fleet.ca_file": "The certificate authority of etcd's certificates; null: those that the system trusts.",
    "fleet.cert_file": "A client certificate, if etcd requires one.",
    "fleet.key_file": "The private key of cert_file.",
    "fleet.ttl": "Seconds after the last sign of a member's agent until it counts as absent.",
    "fleet.grace": "Seconds after which an absent member is skipped, or lost if it had its turn.",
    "fleet.waves": "How many members have the release after each wave, or names of members; the rest is a last wave.",
    "fleet.parallel": "How many members deploy at once.",
    "fleet.bake": "Seconds between two waves, and after the last one.",
    "fleet.on_failure": "What happens after a failure: rollback on all members, or halt with both releases live.",
    "fleet.max_failures": "How many failed or lost members a rollout tolerates.",
    "fleet.max_error_rate": "The share of 5xx responses during the bake that counts as a failure; null: not watched.",
    "fleet.releases": "The directory of the releases; null: the one that contains the live release.",
    "trust": "The networks whose forwarded fields are believed; a peer on a Unix socket is always trusted.",
    "assets": "Path prefixes of files that belong to one release, such as /assets/; a file that the live generation "
    "does not have is requested from the other running generations.",
    "error_pages": "A directory with 502.html, 503.html or 504.html, for rainbowd's own answers to browsers.",
    "maintenance": "A file that puts the site into maintenance while it exists; null turns this off.",
    "maintenance.file": "The file; its content is the answer to every request. null turns this off.",
    "maintenance.retry_after": "The seconds in the Retry-After field of these answers.",
    "maintenance.allow": "The networks whose clients pass.",
    "pause_file": "While this file exists, new requests wait; its first line may be the seconds. null turns this off.",
    "state_dir": "The directory for status.json, journal.jsonl, the lock and the files of each generation.",
    "log": "What rainbowd logs on standard output.",
    "log.level": "The lowest level that is logged.",
    "log.format": "auto: text for people; json: one object for each line.",
    "log.access": "Whether each request is logged.",
    "log.app": "Where the app's own output goes: stdout, a file, or null to drop it.",
}
"""The meaning of each key, as in docs/configuration.md."""

_TEXT: Schema = {"type": "string", "minLength": 1}
_COMMAND: Schema = {"anyOf": [_TEXT, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_COMMAND_OR_OFF: Schema = {"anyOf": [*_COMMAND["anyOf"], {"type": "null"}]}

SHAPES: dict[str, Schema] = {
    "run": _COMMAND,
    "processes.*.run": _COMMAND,
    "hooks.before_launch": _COMMAND_OR_OFF,
    "hooks.after_live": _COMMAND_OR_OFF,
    "hooks.after_failure": _COMMAND_OR_OFF,
    "hooks.fetch": _COMMAND_OR_OFF,
    "listen": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
    "workers": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 64}, {"const": "auto"}]},
    "canary.steps": {
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100},
    },
    "canary.by": {"type": "string", "pattern": "^(client|(cookie|header):.+)$"},
    "user": {"anyOf": [_TEXT, {"type": "integer", "minimum": 0}, {"type": "null"}]},
    "group": {"anyOf": [_TEXT, {"type": "integer", "minimum": 0}, {"type": "null"}]},
}
"""The JSON types of keys whose model has another type."""

SHORT_FORMS: dict[str, Schema] = {
    "health": {"type": "string", "pattern": "^/"},
    "bake": {"type": "number", "minimum": 0},
}
"""The other form of keys that are usually an object."""

_JSON: dict[object, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    NoneType: {"type": "null"},
    dict: {"type": "object", "additionalProperties": {"type": "string"}},
    tuple: {"type": "array", "items": _TEXT},
}

DEFAULTS: dict[str, object] = {"listen": "0.0.0.0:7000"}
"""Defaults as a person would write them, for keys whose model has another form."""


def schema() -> Schema:
    """Return the JSON schema of the whole config."""
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
        found["default"] = DEFAULTS.get(key, redacted(field.default))
    return found


def _shape(kind: Any, bounds: Schema, key: str) -> Schema:
    """Return the JSON type for a Python type; one that JSON does not have is a string."""
    if get_origin(kind) in {Union, UnionType}:
        shapes = (_shape(choice, bounds, key) for choice in get_args(kind))
        return {"anyOf": [choice for shape in shapes for choice in shape.get("anyOf", [shape])]}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    values = get_args(kind)[1] if get_origin(kind) is dict else None
    if isinstance(values, type) and issubclass(values, BaseModel):
        names = {"pattern": f"^{PROCESS_NAME.pattern}$"}
        return {"type": "object", "propertyNames": names, "additionalProperties": _object(values, f"{key}.*.")}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        inner = _object(kind, f"{key}.")
        return {"anyOf": [SHORT_FORMS[key], inner]} if key in SHORT_FORMS else inner
    if kind in {int, float}:
        return {**_JSON[kind], **bounds}
    return _JSON.get(get_origin(kind) or kind, _TEXT)


def _bounds(field: FieldInfo) -> Schema:
    keywords = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
    return {
        keyword: getattr(bound, name)
        for bound in field.metadata
        for name, keyword in keywords.items()
        if hasattr(bound, name)
    }


def text() -> str:
    """Return the content of the schema's file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
