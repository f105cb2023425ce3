"""What a generation is launched from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rainbowd.config import Config


@dataclass(frozen=True)
class LaunchPlan:
    """What a generation is launched from, and relaunched from after a crash: no file is read a second time.

    Attributes:
        release: the resolved directory.
        config: the config at the start of the deploy.
        env_file: the variables of ``env_file`` at that time.
        source: the config as JSON, for a later agent.
    """

    release: Path
    config: Config
    env_file: Mapping[str, str]
    source: Mapping[str, object] = field(default_factory=dict)
