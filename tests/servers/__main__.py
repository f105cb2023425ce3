"""The whole matrix: ``python -m tests.servers``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers import others, table
from tests.servers.environments import Missing
from tests.servers.rows import ROWS
from tests.servers.site import Result, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.others import Seen

ENVIRONMENTS = Path("~/.cache/rainbowd-servers")
SHOWN = 8


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description="Every server, deployed under load.")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--others", action="store_true", help="compare with the usual other ways to deploy")
    parser.add_argument("--deploys", type=int, default=10, metavar="N", help="for each; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument(
        "--environments", type=Path, default=ENVIRONMENTS, metavar="DIR", help="what is installed; default: %(default)s"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write into this page what was seen")
    options = parser.parse_args()
    options.environments = options.environments.expanduser()
    return (compare if options.others else measure)(options)


def measure(options: argparse.Namespace) -> int:
    """Run the rows; 1 where one lost something or could not be run."""
    results: list[Result] = []
    missing: list[str] = []
    for row in ROWS:
        if options.only and row.name not in options.only:
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="servers-") as directory:
                results.append(run(row, options.deploys, Path(directory), options.environments))
            print(line(results[-1]), flush=True)
            keep(options.json, results)
        except Missing as problem:
            missing.append(str(problem))
            print(f"LEFT OUT {problem}", flush=True)
    if options.page:
        table.write(options.page, table.SERVERS, table.of_servers([asdict(result) for result in results]))
        table.write(options.page, table.RECIPES_BEGIN, table.of_recipes())
    bad = sum(bool(result.failures) for result in results)
    deploys, requests = sum(one.deploys for one in results), sum(one.requests for one in results)
    print(f"{len(results)} servers, {deploys} deploys, {requests} requests")
    print(f"{bad} with failures, {len(missing)} left out")
    return 1 if bad or missing else 0


def compare(options: argparse.Namespace) -> int:
    """Run the other ways; what they lose is no failure of the run."""
    seen: list[Seen] = []
    for one in others.run_all(options.deploys, options.environments, options.only or ()):
        seen.append(one)
        print(f"{one.server:18} {one.way:60} {one.deploys} deploys {one.requests:6} requests  {one.lost}", flush=True)
        keep(options.json, seen)
    if options.page:
        table.write(options.page, table.OTHERS, table.of_others([asdict(one) for one in seen]))
    return 0


def keep(file: Path | None, results: Sequence[Result | Seen]) -> None:
    """Write what there is so far."""
    if file is not None:
        file.write_text(json.dumps([asdict(result) for result in results], indent=1))


def line(result: Result) -> str:
    """Return a row for the terminal, followed by its failures."""
    told = (
        f"{result.name:18} {result.version:8} {result.requests:5} requests {len(result.failures):3} failures "
        f"{result.deploys:3} deploys  boot {result.boot_seconds:.2f}  switch {result.switch_seconds * 1000:.0f} ms  "
        f"drain {result.drain_seconds:.1f}  killed {result.killed}  left {result.left}  kept: {result.kept}"
    )
    return "\n".join([told, *(f"    FAILED {failure}" for failure in result.failures[:SHOWN])])


if __name__ == "__main__":
    sys.exit(main())
