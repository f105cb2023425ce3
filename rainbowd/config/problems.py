"""The problems of a config, in lines that a user can act on: ``KEY.PATH: found X; expected Y``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, get_args, get_origin

from pydantic import BaseModel

from rainbowd.config.models import Config
from rainbowd.config.redaction import is_secret
from rainbowd.json_file import describe_type, format_value, key_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from rainbowd.config.redaction import Location


def describe_problems(error: ValidationError, data: Mapping[str, object], problems: list[str]) -> list[str]:
    """Return all problems, those with unknown keys first: a misspelt key explains that another is missing.

    Args:
        error: of the validator.
        data: the config as JSON.
        problems: found before.
    """
    unknown = [details for details in error.errors() if details["type"] == "extra_forbidden"]
    others = [details for details in error.errors() if details["type"] != "extra_forbidden"]
    return [
        *(describe_problem(details, data) for details in unknown),
        *problems,
        *(describe_problem(details, data) for details in others),
    ]


def describe_problem(details: ErrorDetails, data: Mapping[str, object]) -> str:
    """Return one error of the validator as ``KEY.PATH: found X; expected Y``.

    Args:
        details: the error.
        data: the config as JSON.
    """
    location = tuple(part for part in details["loc"] if part != "[key]")
    if location[0] == "listen" and not isinstance(data.get("listen"), list):
        location = location[:1]  # one address, which the model turns into a list
    model, field = _model_and_field(location)
    value = details["input"]
    if details["type"] == "extra_forbidden":
        return f"{key_path(location)}: found an unknown key; expected {_known_keys(model, str(location[-1]))}"
    if details["type"] == "missing":
        found = "nothing"
    elif is_secret(location):
        found = describe_type(value)
    else:
        found = format_value(value)
    own_text = str(details.get("ctx", {}).get("error", "")).removeprefix("expected ")
    description = field.description if field else None
    expected = own_text or description or details["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    return f"{key_path(location)}: found {found}; expected {expected}"


def _model_and_field(location: Location) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Return the innermost model on the way to a location, and the field there: None for an item of a field."""
    model: type[BaseModel] | None = Config
    field: FieldInfo | None = None
    is_name = False  # the part is a name that the user chose, in an object of models
    for part in location:
        if is_name:
            is_name = False
            continue
        field = model.model_fields.get(str(part)) if model else None
        if field is None:
            break
        kinds = get_args(field.annotation) or (field.annotation,)
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        is_name = get_origin(field.annotation) is dict and model is not None
    return model, field


def _known_keys(model: type[BaseModel] | None, name: str) -> str:
    known = list(model.model_fields) if model else []
    nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
    return f"one of {', '.join(known)}{hint}"
