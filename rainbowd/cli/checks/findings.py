"""The findings about one config, by severity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rainbowd.errors import RainbowdError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Findings:
    """The findings about a config, one a line.

    Attributes:
        problems: settings that would make a start or a launch fail, or behave differently than the config states.
        warnings: settings that are allowed, but are likely mistakes.
        notes: facts that are useful to know.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def attempt(self, key: str, action: Callable[[], object]) -> None:
        """Call ``action``, and add its error to the problems of ``key``."""
        try:
            action()
        except RainbowdError as error:
            self.problems += [f"{key}: {line.removeprefix(f'{key}: ')}" for line in str(error).splitlines()]
