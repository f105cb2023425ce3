"""The current step of a deploy, from the status's ``deploying``: see ``docs/interface.md``."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rainbowd.cli.terminal import ago, escape_control, release_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = {"plan": "preparing", "slot": "waiting for a slot", "boot": "booting", "health": "health check"}
"""Steps that people know under another name."""
BAR_CHARACTERS = 20
CHECK_CHARACTERS = 100
"""How much of a health check's answer fits on a line of a terminal."""


def describe(deploying: Mapping[str, Any], generations: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return the step, its duration, and the last health check or the counts of canary and bake, in one line.

    Args:
        deploying: the status's ``deploying``.
        generations: the status's ``generations``.

    Raises:
        KeyError, ValueError: a field is missing or invalid.
    """
    step = str(deploying["step"])
    parts = [escape_control(NAMES.get(step, step)), ago(deploying["step_at"])]
    answer = deploying["last_check"]
    if answer is not None and step == "health":
        parts.append(f"last: {_shortened(escape_control(answer))}")
    parts += [
        _describe_counts(deploying["step_at"], generation[step], generation.get("share"))
        for generation in generations
        if step in generation and generation["id"] == deploying["generation"]
    ]
    return ", ".join(parts)


def _describe_counts(begun_at: str, judged: Mapping[str, Any], share: float | None) -> str:
    """Return a bar of the time that has passed, the share and the counts: ``[##--] of 60 s: 80 requests, 1 failed``."""
    begin = datetime.fromisoformat(begun_at).timestamp()
    end = datetime.fromisoformat(judged["until"]).timestamp()
    part = min(1.0, max(0.0, (time.time() - begin) / max(end - begin, 0.001)))
    done = round(part * BAR_CHARACTERS)
    bar = f"[{'#' * done}{'-' * (BAR_CHARACTERS - done)}] of {end - begin:.0f} s"
    shared = "" if share is None else f", {share:g} % of the clients"
    return f"{bar}{shared}: {int(judged['requests'])} requests, {int(judged['errors'])} failed"


def describe_deploy(deploying: Mapping[str, Any], generations: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return the release that is being deployed, with the current step, in one line for the status.

    Args:
        deploying: the status's ``deploying``.
        generations: the status's ``generations``.

    Raises:
        KeyError, ValueError: a field is missing or invalid.
    """
    release = deploying["release"]
    name = escape_control(release_name(str(release))) if release is not None else "a release"
    return f"deploying {name}: {describe(deploying, generations)}"


def new_lines(deploying: Mapping[str, Any], seen: int) -> list[str]:
    """Return the lines of a hook's output after the first ``seen``, as far as the status still contains them."""
    count, output = int(deploying["output_lines"]), deploying["output"]
    unseen = max(0, count - seen)
    return [str(line) for line in output[len(output) - min(unseen, len(output)) :]]


def remaining_lines(shown: list[str], output: list[str]) -> list[str]:
    """Return the lines of ``output`` that follow the lines that were shown.

    Args:
        shown: the lines that were shown, or the last of them.
        output: the last lines of the same output, or all of it.
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
