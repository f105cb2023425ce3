"""The options of the command line that replace values of the config file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from rainbowd.config.models import Config, LogSettings
from rainbowd.config.parsers import parse_listen
from rainbowd.errors import UsageError
from rainbowd.json_file import format_value


def with_overrides(
    config: Config,
    listen: list[str] | None,
    log_level: str | None,
    *,
    enable_api: bool = False,
    directory: Path | None = None,
) -> Config:
    """Return a copy of ``config`` in which options of the command line replace the file's values.

    Args:
        config: of the file.
        listen: the values of ``--listen``.
        log_level: the value of ``--log-level``.
        enable_api: whether ``--enable-api`` was given.
        directory: that socket paths of the command line are relative to; None for the working directory.

    Raises:
        UsageError: a value is not valid in a config either.
    """
    changes: dict[str, object] = {}
    if listen:
        changes["listen"] = tuple(_listen_option(text, directory or Path.cwd()) for text in listen)
    if enable_api:
        changes["api"] = config.api.model_copy(update={"enabled": True})
    if log_level is not None:
        try:
            changes["log"] = LogSettings.model_validate({**config.log.__dict__, "level": log_level})
        except ValidationError:
            expected = LogSettings.model_fields["level"].description
            raise UsageError(f"--log-level: found {format_value(log_level)}; expected {expected}") from None
    return config.model_copy(update=changes)


def _listen_option(text: str, directory: Path) -> object:
    try:
        return parse_listen(text, directory)
    except ValueError as error:
        expected = str(error).removeprefix("expected ") or Config.model_fields["listen"].description
        raise UsageError(f"--listen: found {format_value(text)}; expected {expected}") from None
