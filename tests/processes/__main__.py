"""The whole matrix: ``python -m tests.processes``."""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.processes import table
from tests.processes.rows import QUEUES
from tests.processes.site import as_json, run
from tests.servers.environments import Missing

if TYPE_CHECKING:
    from tests.processes.rows import Queue

ENVIRONMENTS = Path("~/.cache/rainbowd-servers")


def main() -> int:
    """Run the queues; return 1 if one lost a job, did one twice, or could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.processes", description="Every queue, deployed at work.")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {', '.join(one.name for one in QUEUES)}")
    parser.add_argument("--deploys", type=int, default=10, metavar="N", help="for each; default: %(default)s")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--page", type=Path, metavar="FILE", help="keep the result, and write the table of this page")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    queues = [queue for queue in QUEUES if not options.only or queue.name in options.only]
    for queue in queues:
        result = _run(queue, options.deploys, options.environments.expanduser())
        if result is not None:
            results.append(result)
            print(json.dumps(result), flush=True)
    if options.page:
        measured = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "queues": _with_earlier(results)}
        table.MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
        table.write(options.page, table.of(measured))
    return 0 if len(results) == len(queues) and all(result["is_good"] for result in results) else 1


def _run(queue: Queue, deploys: int, environments: Path) -> dict[str, Any] | None:
    """Return the result of a queue; None if it cannot be run here."""
    try:
        with tempfile.TemporaryDirectory(prefix="processes-") as directory:
            return as_json(run(queue, deploys, Path(directory), environments))
    except Missing as problem:
        print(f"LEFT OUT {problem}", flush=True)
        return None


def _with_earlier(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results in the order of the matrix; a queue that was not run keeps its earlier result."""
    earlier = table.read()["queues"] if table.MEASURED.exists() else []
    found = {one["name"]: one for one in (*earlier, *results)}
    return [found[queue.name] for queue in QUEUES if queue.name in found]


if __name__ == "__main__":
    raise SystemExit(main())
