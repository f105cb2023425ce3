"""The walk of a deploy through the files of rainbowd: ``python -m tests.live.walk --deploys 5``.

It counts how often a deploy without traffic, from the changed link to the retired generation, enters another file.  A
walk with fewer visits is easier to follow.  The count is of the calls of the agent's own functions in its main thread,
in order, and a visit is a call into another file than that of the call before.  Left out is what a reader of a deploy
would not follow: that a coroutine continues after a wait, comprehensions, files that only define values (``VALUES``),
the proxy's own clock (``CLOCK`` and ``CLOCKED``), and the health check's requests (``PROBES``), whose number depends on
how fast the app starts.  The number still varies from deploy to deploy, as the files are watched in real time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rainbowd import cli
from tests.live.agent import running

if TYPE_CHECKING:
    from types import FrameType

PACKAGE = Path(cli.__file__).parents[1]
VALUES = {"address.py", "broadcast.py", "errors.py", "permissions.py", "plain_text.py", "tcp_ports.py", "timestamp.py"}
CLOCK = {"proxy/deadlines.py", "proxy/reactor.py", "proxy/server.py"}
CLOCKED = {"Pool.close_expired"}
PROBES = {"deploy/host/connect.py", "deploy/host/health.py", "deploy/host/httpx_transport.py"}
CALLS = "calls.json"
REST_SECONDS = 1.5
"""How long the agent rests between two deploys, so that the end of one is not counted as the beginning of the next."""
START = 8
"""A coroutine that has not come to its first instruction has a lower ``f_lasti`` than one that continues."""


class Call(NamedTuple):
    """One call of a function of rainbowd, at a time of the monotonic clock."""

    at: float
    file: str
    function: str


def record(file: Path, arguments: list[str]) -> int:
    """Run ``rainbowd`` with these arguments, and write its calls into a file when it ends."""
    calls: list[Call] = []
    prefix = f"{PACKAGE}/"

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(prefix) and frame.f_lasti < START:
            calls.append(Call(time.monotonic(), code.co_filename.removeprefix(prefix), code.co_qualname))

    sys.setprofile(profile)
    try:
        return cli.main(arguments)
    finally:
        sys.setprofile(None)
        file.write_text(json.dumps(calls))


def is_counted(call: Call) -> bool:
    """Return whether a call belongs to the walk."""
    is_elsewhere = call.file in VALUES | CLOCK | PROBES or call.file.startswith("http1/")
    return not (is_elsewhere or call.function in CLOCKED or call.function.rpartition(".")[2].startswith("<"))


def walks(deploys: int) -> list[list[Call]]:
    """Return the calls of each deploy of a real agent."""
    with tempfile.TemporaryDirectory(prefix="rainbowd-walk-") as scratch:
        spans = []
        with running(Path(scratch), None, "tests.live.walk") as agent:
            for number in range(deploys):
                time.sleep(REST_SECONDS)
                since, begin = len(agent.events()), time.monotonic()
                agent.flip(agent.add_release(f"v{number}").name)
                agent.wait_for("generation.retired", since)
                spans.append((begin, time.monotonic()))
            assert agent.stop() == 0
            calls = [Call(*fields) for fields in json.loads((agent.directory / CALLS).read_text())]
    return [[call for call in calls if begin <= call.at <= end and is_counted(call)] for begin, end in spans]


def visits(walk: list[Call]) -> list[Call]:
    """Return the calls that enter another file."""
    before = ["", *(call.file for call in walk)]
    return [call for file, call in zip(before, walk, strict=False) if call.file != file]


def show(walk: list[Call], *, is_whole: bool, lines: int) -> None:
    """Print a walk by its files and pairs of files, or in its order."""
    found = visits(walk)
    if is_whole:
        file = ""
        for call in walk:
            print(call.function if call.file == file else f"\n{call.file}: {call.function}", end=", ")
            file = call.file
        print()
        return
    pairs = Counter(zip((call.file for call in found), (call.file for call in found[1:]), strict=False))
    for number, (source, target) in sorted(((n, pair) for pair, n in pairs.items()), reverse=True)[:lines]:
        print(f"{number:4} {source} -> {target}")
    print()
    for name, number in Counter(call.file for call in found).most_common(lines):
        print(f"{number:4} {name}")


def main() -> int:
    """Print the median of the visits, and where they are in the median deploy."""
    if sys.argv[1:2] == ["--config"]:  # this is the agent
        return record(Path(sys.argv[2]).with_name(CALLS), sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deploys", type=int, default=5, help="how many deploys to record (default: %(default)s)")
    parser.add_argument(
        "--lines", type=int, default=25, help="how many pairs and files to print (default: %(default)s)"
    )
    parser.add_argument("--whole", action="store_true", help="print the calls of the median deploy in their order")
    options = parser.parse_args()
    found = sorted(walks(options.deploys), key=lambda walk: len(visits(walk)))
    numbers = [len(visits(walk)) for walk in found]
    median = found[len(found) // 2]
    show(median, is_whole=options.whole, lines=options.lines)
    files = len({call.file for call in median})
    print(f"\nvisits: {statistics.median(numbers):g} (from {numbers[0]} to {numbers[-1]}), to {files} files", end="")
    print(f"; {len(median)} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
