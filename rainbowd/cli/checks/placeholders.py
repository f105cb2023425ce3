"""The checks of commands and the environment: misspelt placeholders, unexpanded variables and fixed ports."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from rainbowd.deploy.host.hook_permissions import HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rainbowd.cli.checks.findings import Findings
    from rainbowd.config import Config

    Command = str | tuple[str, ...]

PLACEHOLDERS = ("port", "socket", "pidfile", "release", "generation")
_OURS = re.compile(r"PORT|SOCKET|PIDFILE|RAINBOWD_(?:GENERATION|RELEASE|STATE_DIR)")

_BRACED = re.compile(r"(?<!\$)\{([A-Za-z_]+)\}")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}|([12])(?!\d))")
_SHELL_OPTION = re.compile(r"-[a-z]*c")
_TAKES_ADDRESS = re.compile(r"(?<!\$)\{(?:port|socket)\}|\$\{?(?:PORT|SOCKET|1)\b|\$[@*]")
_FIXED_PORT = re.compile(
    r"(?:--?[a-z-]*port=|(?:--?[a-z-]+=)?(?:127\.0\.0\.1|0\.0\.0\.0|localhost|\[::1?\])?:)?(\d{4,5})"
)
_PORT_OPTION = re.compile(r"-p|-b|-l|--?(?:port|bind|listen|addr|address|http)")
_PORTS = range(1024, 65536)

_MEANT = {"PORT": "port", "1": "port", "SOCKET": "socket", "PIDFILE": "pidfile", "2": "pidfile"}


def check_commands(config: Config, found: Findings) -> None:
    """Check how the commands of the app, the hooks and the companion processes are written; add to ``found``."""
    commands = {"run": config.run} | {f"hooks.{hook}": getattr(config.hooks, hook) for hook in HOOKS}
    commands |= {f"processes.{name}.run": settings.run for name, settings in config.processes.items()}
    for key, command in commands.items():
        if isinstance(command, str):
            found.problems += [f"{key}: {problem}" for problem in _misspelt(command)]
        elif command is not None:
            found.problems += _problems_of_list(key, command)
    _check_address(config, found)


def _problems_of_list(key: str, command: Command) -> Iterator[str]:
    for index, (before, element) in enumerate(zip(("", *command), command, strict=False)):
        place = f"{key}[{index}]"
        if not element and not before.startswith("-"):
            yield f"{place}: found an empty element after {before!r}; expected a word"
        if _SHELL_OPTION.fullmatch(before):  # a shell's own
            continue
        yield from (f"{place}: {problem}" for problem in _misspelt(element))
        for name in _variables(element):
            if name in _MEANT:
                shown = f"${name}"
                yield f"{place}: found {shown}, which only a shell expands; expected {{{_MEANT[name]}}}, or one string"


def _check_address(config: Config, found: Findings) -> None:
    """Check how the app receives its address."""
    words = [config.run] if isinstance(config.run, str) else list(config.run)
    texts = [*words, *config.env.values()]
    if config.uses_socket:
        if any("{port}" in text for text in texts):
            found.warnings.append("run: has {socket}, so that there is no port, and {port} is empty")
        return
    if any("{port}" in text for text in texts) or (isinstance(config.run, str) and _TAKES_ADDRESS.search(config.run)):
        return
    fixed = next((port for before, word in pairwise(words) if (port := _fixed_port(before, word))), None)
    if fixed is not None:
        found.problems.append(
            f"run: found the fixed port {fixed}; expected {{port}}, because each generation has its own"
        )
    else:
        found.notes.append("run: has no {port}; the app must listen on the port in the variable PORT")


def _fixed_port(before: str, word: str) -> str | None:
    """Return the port that a word of a command names; a number after any other option is none."""
    match = _FIXED_PORT.fullmatch(word)
    is_others = word.isdigit() and before.startswith("-") and not _PORT_OPTION.fullmatch(before)
    return match[1] if match and int(match[1]) in _PORTS and not is_others else None


def check_environment(config: Config, env_file: Mapping[str, str], found: Findings) -> None:
    """Check the values of ``env`` and of the env file, without printing a value; add to ``found``."""
    for name, value in config.env.items():
        found.warnings += [f"env.{name}: {problem}" for problem in _misspelt(value)]
        found.warnings += [f"env.{name}: {doubt}" for doubt in _unexpanded(name, value, config.env)]
    for name, value in env_file.items():
        found.warnings += [f"env_file: {name}: {doubt}" for doubt in _unexpanded(name, value, env_file)]
        found.warnings += [
            f"env_file: {name}: has {{{placeholder}}}, which is filled in only in env"
            for placeholder in PLACEHOLDERS
            if f"{{{placeholder}}}" in value
        ]
    for key, names in (("env", config.env), ("env_file", env_file)):
        ours = [name for name in names if _OURS.fullmatch(name)]
        found.notes += [f"{key}: {name} has no effect, because rainbowd sets it" for name in ours]


def _unexpanded(name: str, value: str, others: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each part of a value that a shell would expand, and rainbowd does not."""
    for variable in _variables(value):
        if variable in _MEANT and not variable.isdigit():
            yield f"has ${variable}, and nothing expands it; expected {{{_MEANT[variable]}}}"
        elif variable in os.environ or variable in others:
            yield f"has ${variable}, and nothing expands it; expected the whole value"
    if name == "PATH" and any(part.startswith("~") for part in value.split(":")):
        yield "has a ~, and nothing expands it; expected the whole path"


def _variables(text: str) -> Iterator[str]:
    """Yield the names of shell variables in ``text``."""
    for match in _VARIABLE.finditer(text):
        yield next(filter(None, match.groups()))


def _misspelt(text: str) -> Iterator[str]:
    """Yield a warning for each word in braces that was probably meant as a placeholder."""
    for name in _BRACED.findall(text):
        meant = next((known for known in PLACEHOLDERS if known != name and _is_almost(name.lower(), known)), None)
        if meant is not None:
            yield f"found {{{name}}}, which is not a placeholder; expected {{{meant}}}"


def _is_almost(name: str, placeholder: str) -> bool:
    """Return whether a name is a placeholder in the plural, with letters exchanged, or without one of its letters."""
    is_shuffled = sorted(name) == sorted(placeholder)
    is_short = len(placeholder) > len("port") and len(name) == len(placeholder) - 1 and _is_within(name, placeholder)
    return is_shuffled or name == f"{placeholder}s" or is_short


def _is_within(name: str, whole: str) -> bool:
    letters = iter(whole)
    return all(letter in letters for letter in name)
