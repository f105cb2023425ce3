"""The step of a deploy that is under way, as ``deploying`` of the status has it: see ``docs/interface.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rainbowd.cli.terminal import ago, escape_control, release_name

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {"plan": "preparing", "slot": "waiting for a slot", "boot": "booting", "health": "health check"}
"""What people read; a step of another name is its own."""
CHECK_CHARACTERS = 100
"""Of what a health check got: more would not fit on a line of a terminal."""


def describe(deploying: Mapping[str, Any]) -> str:
    """Return the step and its time, and what the last health check got, in one line.

    Raises:
        KeyError, ValueError: it is not what an agent writes.
    """
    step = str(deploying["step"])
    words = [escape_control(NAMES.get(step, step)), ago(deploying["step_at"])]
    seen = deploying["last_check"]
    if seen is not None and step == "health":
        words.append(f"last: {_shortened(escape_control(seen))}")
    return ", ".join(words)


def describe_deploy(deploying: Mapping[str, Any]) -> str:
    """Return what is being deployed and how far it is, for the status.

    Raises:
        KeyError, ValueError: it is not what an agent writes.
    """
    release = deploying["release"]
    name = escape_control(release_name(str(release))) if release is not None else "nothing yet"
    return f"deploying {name}: {describe(deploying)}"


def new_lines(deploying: Mapping[str, Any], seen: int) -> list[str]:
    """Return the lines of a hook's output after the first ``seen``, as far as the status still has them."""
    count, output = int(deploying["output_lines"]), deploying["output"]
    unseen = max(0, count - seen)
    return [str(line) for line in output[len(output) - min(unseen, len(output)) :]]


def rest_of(shown: list[str], output: list[str]) -> list[str]:
    """Return the lines of ``output`` that come after those which were shown.

    Args:
        shown: the lines that were shown, or the last of them.
        output: the last lines of the same output, and perhaps the first.
    """
    for size in range(min(len(shown), len(output)), 0, -1):
        if shown[-size:] == output[:size]:
            return output[size:]
    if shown and shown[-1] in output:
        last = len(output) - 1 - output[::-1].index(shown[-1])
        return output[last + 1 :]
    return output


def _shortened(text: str) -> str:
    return text if len(text) <= CHECK_CHARACTERS else f"{text[:CHECK_CHARACTERS]}..."
