"""Run rainbowd with faults: ``python -m tests.live.faulty_agent``, with the arguments of ``rainbowd``.

``faults.json`` next to the config file names the faults and the constants to change.  Each agent reads it at its start.
So a test changes the file to install another version: the running agent stays as it is, and the new agent of an
upgrade, which is started by the same command, has the faults.  A fault wraps a public function of rainbowd.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from rainbowd import upgrade
from rainbowd.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

CONSTANTS = {
    "PREPARE_SECONDS": "rainbowd.upgrade.new_agent",
    "FIRST_SECONDS": "rainbowd.upgrade.new_agent",
    "ADOPT_SECONDS": "rainbowd.upgrade.new_agent",
    "TRIAL_SECONDS": "rainbowd.agent.upgrade",
}
"""The module of each constant that a test can change."""
DIRECTORY = Path(sys.argv[-1]).parent
"""The site; absolute, because the agent leaves the directory in which it is started."""


def reached() -> None:
    """Create a file that shows the test how far the agent is."""
    (DIRECTORY / "reached").touch()


# --- at the start -----------------------------------------------------------------------------------------------------


def cannot_import() -> None:
    """Fail to import a module that an agent needs."""
    sys.modules["rainbowd.agent"] = None  # type: ignore[assignment]


def at_start(fault: Callable[[], object]) -> None:
    """Call ``fault`` before an agent receives what the old one offers."""
    receive_offer = upgrade.receive_offer

    def receive(environ: MutableMapping[str, str]) -> upgrade.Offer | None:
        fault()
        return receive_offer(environ)

    upgrade.receive_offer = receive


def halts_at_start() -> None:
    """Hang before the offer is received, and show that."""

    def halt() -> None:
        reached()
        time.sleep(60)

    at_start(halt)


def hangs_at_start() -> None:
    """Hang for longer than a test lets an agent prepare."""
    at_start(lambda: time.sleep(30))


def is_slow_to_start() -> None:
    """Take a second to begin."""
    at_start(lambda: time.sleep(1))


def exits_soon() -> None:
    """Exit with status 3, one second after the start."""
    at_start(threading.Timer(1, os._exit, [3]).start)


def writes_much() -> None:
    """Write more to stderr than a pipe holds."""
    at_start(lambda: sys.stderr.write("noise\n" * 100_000))


# --- on trial, and when the agent is ready ----------------------------------------------------------------------------


def on_trial(fault: Callable[[], Any]) -> None:
    """Await ``fault`` after an agent has adopted the generations and served on trial."""
    agent: Any = import_module("rainbowd.agent.agent")
    serve_on_trial = agent.serve_on_trial

    async def serve() -> None:
        await serve_on_trial()
        await fault()

    agent.serve_on_trial = serve


def exits_on_trial() -> None:
    """Raise SystemExit with a message."""

    async def fail() -> None:
        raise SystemExit("in vain")

    on_trial(fail)


def is_killed_on_trial() -> None:
    """Be killed, as by the kernel when memory runs out."""

    async def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    on_trial(kill)


def is_never_ready() -> None:
    """Serve on trial without an end."""
    on_trial(trio.sleep_forever)


def halts_on_trial() -> None:
    """Serve on trial without an end, and show that."""

    async def halt() -> None:
        reached()
        await trio.sleep_forever()

    on_trial(halt)


def has_a_long_trial() -> None:
    """Serve on trial for a second longer."""
    on_trial(partial(trio.sleep, 1))


def exits_after_a_long_trial() -> None:
    """Serve on trial for a second longer, and exit without a word."""

    async def leave() -> None:
        await trio.sleep(1)
        os._exit(1)

    on_trial(leave)


def has_a_bug_on_trial() -> None:
    """Raise an exception in a background task while the agent serves on trial."""
    status: Any = import_module("rainbowd.agent.status")

    async def fail(_publisher: object) -> None:
        await trio.sleep(1)
        raise ZeroDivisionError

    status.StatusPublisher.publish_counters = fail


def halts_before_ready() -> None:
    """Hang right before the agent would report that it is ready, and show that."""
    agent: Any = upgrade.ReplacedAgent
    ready = agent.ready

    async def halt(*args: Any) -> None:
        reached()
        time.sleep(60)  # noqa: ASYNC251 - nothing else of the agent may go on
        await ready(*args)

    agent.ready = halt


def is_killed_when_ready() -> None:
    """Be killed right after the agent has reported that it is ready."""
    agent: Any = upgrade.ReplacedAgent
    ready = agent.ready

    async def report(*args: Any) -> None:
        await ready(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    agent.ready = report


# --- in the old agent -------------------------------------------------------------------------------------------------


def reads_ready_late() -> None:
    """Take half a second from the new agent's report that it is ready to acting on it."""
    channel: Any = import_module("rainbowd.peers.channel")
    expect = channel.Channel.expect

    async def wait(end: object, kind: Any) -> Any:
        message = await expect(end, kind)
        if kind.kind == "ready":
            await trio.sleep(0.5)
        return message

    channel.Channel.expect = wait


def install_faults() -> None:
    """Change rainbowd as ``faults.json`` says."""
    wanted = json.loads((DIRECTORY / "faults.json").read_text())
    for name, seconds in wanted["constants"].items():
        module = import_module(CONSTANTS[name])
        assert hasattr(module, name)
        setattr(module, name, seconds)
    for name in wanted["faults"]:
        globals()[name]()


if __name__ == "__main__":
    install_faults()
    sys.exit(main())
