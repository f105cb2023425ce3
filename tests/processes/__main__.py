"""The whole matrix: ``python -m tests.processes``."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tests.processes.rows import QUEUES
from tests.processes.site import as_json, run
from tests.servers.environments import Missing

ENVIRONMENTS = Path("~/.cache/rainbowd-servers")


def main() -> int:
    """Run the queues; return 1 if one lost a job, did one twice, or could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.processes", description="Every queue, deployed at work.")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {', '.join(one.name for one in QUEUES)}")
    parser.add_argument("--deploys", type=int, default=10, metavar="N", help="for each; default: %(default)s")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args()
    is_good = True
    for queue in QUEUES:
        if options.only and queue.name not in options.only:
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="processes-") as directory:
                result = run(queue, options.deploys, Path(directory), options.environments.expanduser())
            print(json.dumps(as_json(result)), flush=True)
            is_good &= result.is_good
        except Missing as problem:
            print(f"LEFT OUT {problem}", flush=True)
            is_good = False
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
