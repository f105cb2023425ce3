"""``python -m bench``: measure, and print one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import bodies, idle, requests, steady, websocket, workers
from bench.goals import verdicts
from bench.machine import BenchError, chosen_cores, raise_file_limit, taken_share
from bench.picture import picture
from bench.plan import Plan
from bench.proxies import NAMES, Place, install, versions
from bench.results import Results, from_json, to_json
from bench.table import table

PARTS = {
    "requests": requests.run,
    "workers": workers.run,
    "bodies": bodies.run,
    "idle": idle.run,
    "websocket": websocket.run,
}
MANY_ROUNDS = ("requests", "workers")
"""The parts whose differences are small; the others have a third of the rounds."""

CONNECTIONS = (1, 32, 256)
IDLE = (1000, 10_000)
NOISY_SHARE = 0.05
"""What others may take of the cores without a word from us."""


def main() -> int:
    """Exit status: 0 all was measured, 1 something failed, 2 it could not begin."""
    options = _options()
    try:
        results = from_json(options.draw.read_text()) if options.draw else _measure(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    _tell(results, options)
    return 1 if results.failures else 0


def _tell(results: Results, options: argparse.Namespace) -> None:
    if results.rows:
        print(table(results), verdicts(results), sep="\n\n")
    for failure in results.failures:
        print(f"failed: {failure}")
    if options.json:
        options.json.write_text(to_json(results))
    if options.svg:
        options.svg.write_text(picture(results))


def _measure(options: argparse.Namespace) -> Results:
    proxy_core, load_core = chosen_cores()
    os.sched_setaffinity(0, {load_core})
    raise_file_limit()
    install(options.peers, options.cache)
    with tempfile.TemporaryDirectory(prefix="rainbowd-bench-") as scratch:
        facts = {**_facts(options), "taken": _taken((proxy_core, load_core))}
        results = Results(list(options.peers), facts)
        place = Place(options.cache, Path(scratch), proxy_core, load_core)
        plan = _plan(options, place, results)
        try:
            _run(plan, options)
        except (BenchError, KeyboardInterrupt) as error:
            results.failures.append(str(error) or "interrupted")
    return results


def _taken(chosen: tuple[int, int]) -> str:
    """How much of the cores others take; said at once, since it says what the figures are worth."""
    share = taken_share(chosen)
    if share > NOISY_SHARE:
        print(f"bench: others take {share:.0%} of the two cores; ratios will be rough", file=sys.stderr)
    return f"{share:.0%}"


def _run(plan: Plan, options: argparse.Namespace) -> None:
    if options.minutes:
        steady.run(plan, options.minutes)
        return
    for part in options.only:
        rounds = plan.rounds if part in MANY_ROUNDS else -(-plan.rounds // 3)
        PARTS[part](replace(plan, rounds=rounds))


def _plan(options: argparse.Namespace, place: Place, results: Results) -> Plan:
    if options.quick:
        return Plan(options.peers, 1, 0.1, 0.1, (32,), (20, 100), place, results)
    warm_seconds = max(1.0, options.seconds / 2)
    return Plan(options.peers, options.rounds, options.seconds, warm_seconds, CONNECTIONS, IDLE, place, results)


def _facts(options: argparse.Namespace) -> dict[str, str]:
    machine = {"python": platform.python_version(), "kernel": platform.release(), "cores": str(os.cpu_count())}
    return {**machine, **versions(options.peers, options.cache)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="rainbowd compared with its peers, in one run."
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "rainbowd-bench"
    parser.add_argument("--peers", type=_Names(NAMES), default=NAMES, help=f"of {','.join(NAMES)}")
    parser.add_argument("--only", type=_Names(tuple(PARTS)), default=tuple(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=9, help="bodies, idle and websocket have a third")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load, a measurement")
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    parser.add_argument(
        "--minutes", type=int, metavar="N", help="only see whether a request costs the same for so long"
    )
    parser.add_argument("--cache", type=Path, default=cache, help=f"for what is installed; default: {cache}")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--svg", type=Path, help="draw some of them into this file")
    parser.add_argument("--draw", type=Path, metavar="JSON", help="measure nothing; show an earlier run's figures")
    return parser.parse_args()


class _Names:
    """An option's type: some of the known names, with commas between them."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if unknown := set(chosen) - set(self._known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return chosen


if __name__ == "__main__":
    sys.exit(main())
