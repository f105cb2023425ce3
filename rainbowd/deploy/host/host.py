"""The host that the agent runs on: Linux."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rainbowd.deploy.host.app_launcher import AppLauncher
from rainbowd.deploy.host.companion_launcher import LinuxCompanionLauncher
from rainbowd.deploy.host.deploy_files import DeployFiles
from rainbowd.deploy.host.previous_run import PreviousRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import LoadedConfig
    from rainbowd.log import AppSink
    from rainbowd.report.generation_ids import GenerationIds


class LinuxHost:
    """The ``Host`` of this machine.

    Args:
        file: the config file, read again at each deploy.
        loaded: its content at the start.
        soft_limit: the limit of open files that the agent was started with, which apps get too.
        generation_ids: hands out the ids of generations.
        app_sink: called with a generation's id and one line of its output; must not block.
        store: queues the content of a file in the state directory, encoded when it is written; None removes it.

    Attributes:
        desired_state: the files that say what should be live.
        previous_run: the state directory as the previous agent left it.
        launcher: the start of an app's processes, and of a hook's.
        now: returns the time in seconds since the epoch.
    """

    now = staticmethod(time.time)

    def __init__(
        self,
        file: Path,
        loaded: LoadedConfig,
        *,
        soft_limit: int,
        generation_ids: GenerationIds,
        app_sink: AppSink,
        store: Callable[[str, Callable[[], bytes] | None], None],
    ) -> None:
        ports_in_use: set[int] = set()
        self.desired_state = DeployFiles(file, loaded)
        self.previous_run = PreviousRun(
            file, loaded, generation_ids=generation_ids, ports_in_use=ports_in_use, store=store
        )
        self.launcher = AppLauncher(
            self.previous_run,
            generation_ids=generation_ids,
            ports_in_use=ports_in_use,
            soft_limit=soft_limit,
            app_sink=app_sink,
            store=store,
        )
        self.companion_launcher = LinuxCompanionLauncher(
            self.previous_run.state_dir,
            self.previous_run.companions,
            soft_limit=soft_limit,
            app_sink=app_sink,
            store=store,
        )
        self._generation_ids = generation_ids

    def store_again(self) -> None:
        """Store the files that a later agent needs once more, because the state directory was removed.

        Raises:
            OSError: a file cannot be written.
        """
        self._generation_ids.save()
        self.previous_run.store_again()
        self.launcher.store_again()
        self.companion_launcher.store_again()
