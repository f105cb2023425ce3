"""The config as it may be shown: without the values that can be secret."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    Location = tuple[int | str, ...]

SECRETS = (("env",), ("health", "headers"), ("processes", "*", "env"))
"""The objects whose values are never shown; ``*`` stands for any name."""


def is_secret(location: Location) -> bool:
    """Return whether a value must not be shown.

    Args:
        location: the keys that lead to the value.
    """
    return any(
        len(location) >= len(secret) and all(key in {"*", part} for key, part in zip(secret, location, strict=False))
        for secret in SECRETS
    )


def redacted(value: object, location: Location = ()) -> object:
    """Return a config, or a part of one, as JSON; ``***`` replaces the secret values.

    Args:
        value: a model, or the value of a field.
        location: the keys that lead to the value.
    """
    if isinstance(value, BaseModel):
        return {key: redacted(getattr(value, key), (*location, key)) for key in type(value).model_fields}
    if isinstance(value, dict):
        return {key: "***" if is_secret(location) else redacted(item, (*location, key)) for key, item in value.items()}
    if isinstance(value, tuple):
        return [redacted(item, location) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Signals):
        return value.name.removeprefix("SIG")
    return value if value is None or isinstance(value, str | int | float) else str(value)
