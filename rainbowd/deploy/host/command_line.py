"""The command line and the environment of a generation's or a hook's processes."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from rainbowd.deploy.process.procfs import HOOK, INSTANCE, PROCESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rainbowd.config import Account
    from rainbowd.deploy.companion_interfaces import Instance
    from rainbowd.deploy.hook_call import HookCall

_PLACEHOLDER = re.compile(r"\{(port|socket|pidfile|release|generation)\}")
_SHELL_PLACEHOLDER = re.compile(r"(?<!\$)" + _PLACEHOLDER.pattern)  # ${port} is the shell's own

_AGENTS = re.compile(r"PORT|SOCKET|NOTIFY_SOCKET|JOURNAL_STREAM|WATCHDOG_.*|LISTEN_.*")
"""Variables that apply to the agent only: with those of systemd, an app would answer in the agent's name."""


def render(
    run: str | Sequence[str],
    *,
    port: int | None,
    socket: Path | None,
    pidfile: Path | None,
    release: Path,
    generation: int | None,
) -> list[str]:
    """Return the argument vector of ``run``.

    Args:
        run: a list, executed as it is; or a string for ``sh -c``, in which placeholders are replaced
            shell-quoted and which has the port as ``$1`` (empty with a socket) and the pidfile as ``$2``.
        port: for a generation reached over TCP, else None.
        socket: for a generation reached over a Unix socket, else None.
        pidfile: in which a daemon can write its pid; None for a hook that has no generation.
        release: the resolved directory.
        generation: its id; None for a hook that has none.
    """
    values = _values(port, socket, pidfile, release, generation)
    if isinstance(run, str):
        command = _SHELL_PLACEHOLDER.sub(lambda found: shlex.quote(values[found[1]]), run)
        return ["sh", "-c", command, "sh", values["port"], values["pidfile"]]
    return [_filled(element, values) for element in run]


def _values(
    port: int | None, socket: Path | None, pidfile: Path | None, release: Path, generation: int | None
) -> dict[str, str]:
    """Return what each placeholder stands for; empty if this launch has none."""
    given = {"port": port, "socket": socket, "pidfile": pidfile, "release": release, "generation": generation}
    return {name: "" if value is None else str(value) for name, value in given.items()}


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def environment(
    base: Mapping[str, str],
    *,
    config_env: Mapping[str, str],
    env_file_env: Mapping[str, str],
    port: int | None,
    socket: Path | None,
    pidfile: Path | None,
    release: Path,
    generation: int | None,
    state_dir: Path,
    account: Account | None = None,
) -> dict[str, str]:
    """Return the environment of a generation's processes.

    Later sources win: the agent's own environment, the account's, the config's, the env file's, rainbowd's variables.

    Args:
        base: the agent's environment; its ``PORT``, ``SOCKET`` and variables of systemd are dropped.
        config_env: ``env`` of the config, in whose values placeholders are replaced.
        env_file_env: the variables of ``env_file``, taken as they are.
        port: for a generation reached over TCP, else None.
        socket: for a generation reached over a Unix socket, else None.
        pidfile: in which a daemon can write its pid; None for a hook that has no generation.
        release: the resolved directory.
        generation: its id; None for a hook that has none.
        state_dir: absolute; together with the generation it marks the processes as this agent's.
        account: that the processes run as; None for the agent's own.
    """
    inherited = {name: value for name, value in base.items() if not _AGENTS.fullmatch(name)}
    values = _values(port, socket, pidfile, release, generation)
    configured = {name: _filled(value, values) for name, value in config_env.items()}
    given = {**inherited, **(account.variables if account else {}), **configured, **env_file_env}
    for of_others in (HOOK, PROCESS, INSTANCE):
        given.pop(of_others, None)
    return given | _own_variables(values, state_dir)


def _own_variables(values: Mapping[str, str], state_dir: Path) -> dict[str, str]:
    """Return rainbowd's own variables; those of an address or a pidfile only if this launch has one."""
    addressing = {name.upper(): values[name] for name in ("port", "socket", "pidfile") if values[name]}
    return {
        **addressing,
        "RAINBOWD_GENERATION": values["generation"],
        "RAINBOWD_RELEASE": values["release"],
        "RAINBOWD_STATE_DIR": str(state_dir),
    }


def hook_environment(app: Mapping[str, str], call: HookCall) -> dict[str, str]:
    """Return the environment of a hook: the app's, and variables about the deploy, which are empty if unknown.

    Args:
        app: the app's, from ``environment``.
        call: the hook and its deploy.
    """
    about_deploy = {
        HOOK: call.hook,
        "RAINBOWD_DEPLOY": call.deploy,
        "RAINBOWD_RELEASE": call.release,
        "RAINBOWD_PREVIOUS_RELEASE": call.previous_release,
        "RAINBOWD_TRIGGER": call.trigger,
        "RAINBOWD_NOTE": call.note,
        "RAINBOWD_REASON": call.reason,
        "RAINBOWD_ROLLBACK": "1" if call.is_rollback else None,
        "RAINBOWD_ROLLOUT": call.rollout.rollout if call.rollout else None,
        "RAINBOWD_WAVE": call.rollout.wave if call.rollout else None,
        "RAINBOWD_FIRST": "1" if call.rollout is None or call.rollout.is_first else None,
    }
    return {**app, **{name: "" if value is None else str(value) for name, value in about_deploy.items()}}


def companion_environment(app: Mapping[str, str], instance: Instance) -> dict[str, str]:
    """Return the environment of a companion process: the app's, and which process it is.

    Args:
        app: the app's, from ``environment``.
        instance: the process.
    """
    return {**app, PROCESS: instance.name, INSTANCE: str(instance.number)}
