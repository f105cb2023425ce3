"""Compare how two installations read hostile messages: ``python -m tests.smuggling.readings --other PYTHON``.

Both read the same messages: every case of the tests in this directory, every byte in every place of ``test_bytes``, and
random changes of them.  Used to compare the compiled version with the pure one, each in an environment of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
from typing import TYPE_CHECKING

from rainbowd import __version__
from rainbowd.compiled import is_compiled
from rainbowd.http1 import BadResponse, Refusal, find_request_head, parse_request, read_response
from tests.smuggling import hostile, responses
from tests.smuggling.test_bytes import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rainbowd.http1 import Body

ODD = [b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff", b":", b",", b"0", b"5"]
CHANGES_MAX = 3
TRAILER_BYTES = 64
LIMIT_BYTES = 4096
STEPS = 1 << 20, 1, 3
"""The sizes of the pieces in which a body is fed."""


def requests(changes: int, rng: random.Random) -> Iterator[bytes]:
    """Every request, and ``changes`` changed ones."""
    table = hostile.table()
    yield from table
    for before, after in places():
        for code in range(256):
            yield before + bytes([code]) + after
            yield before + bytes([code]) + after[1:]
    for _ in range(changes):
        yield changed(rng.choice(table), rng)


def answers(changes: int, rng: random.Random) -> Iterator[bytes]:
    """Every response, and ``changes`` changed ones."""
    table = responses.table()
    yield from table
    for _ in range(changes):
        yield changed(rng.choice(table), rng)


def changed(data: bytes, rng: random.Random) -> bytes:
    """Return a message of which some bytes are others, missing, or there twice."""
    for _ in range(rng.randint(1, CHANGES_MAX)):
        at = rng.randrange(len(data))
        data = data[:at] + rng.choice(ODD) + data[at + rng.randint(-1, 1) :]
    return data


def read_request(data: bytes) -> str:
    """Return all that is read from a request, or why it is refused."""
    try:
        end = find_request_head(data, 0, LIMIT_BYTES)
        if end < 0:
            return "incomplete"
        found = []
        for trusted in (False, True):
            head = parse_request(data[:end], trusted=trusted)
            head.request_id, head.request_start = b"id", b"t=1"
            found.append((head.method, head.target, head.length_bytes, head.chunked, head.serialise(peer=b"192.0.2.7")))
        return f"{found} {[read_body(head.body(TRAILER_BYTES), data[end:], step) for step in STEPS]}"
    except Refusal as refusal:
        return f"refused {type(refusal).__name__} {refusal.status} {refusal.text} {refusal.cause}"


def read_answer(data: bytes) -> str:
    """Return all that is read from a response, to requests of three methods, or why it is refused."""
    try:
        found = read_response(data, 0)
        if found is None:
            return "incomplete"
        head, end = found
        written = head.serialise(chunked=False, connection=b""), head.serialise(chunked=True, connection=b"close")
        methods = b"GET", b"HEAD", b"CONNECT"
        return f"{written} {[read_body(head.body(each), data[end:], step) for each in methods for step in STEPS]}"
    except BadResponse as error:
        return f"refused {error}"


def read_body(body: Body, data: bytes, step: int) -> str:
    """Return the payload, the trailers and the rest of a body that arrives in pieces, or why it is refused."""
    payload, rest = b"", b""
    try:
        for at in range(0, len(data), step):
            rest += data[at : at + step]
            while rest and not body.is_done:
                got, rest = body.feed(rest)
                payload += got
        if not body.is_done:
            body.feed_eof()
    except (ValueError, Refusal) as error:
        return f"{payload!r} refused {type(error).__name__} {error}"
    return f"{payload!r} {list(body.trailers)} {rest!r}"


def readings(changes: int, seed: int) -> Iterator[str]:
    """Return a line for each message: what kind it is, what it is, and a digest of what is read from it."""
    kinds: Sequence[tuple[str, Callable[[int, random.Random], Iterator[bytes]], Callable[[bytes], str]]] = (
        ("request", requests, read_request),
        ("response", answers, read_answer),
    )
    for kind, messages, read in kinds:
        for data in messages(changes, random.Random(seed)):
            reading = read(data)
            yield f"{kind} {hashlib.sha256(reading.encode()).hexdigest()} {'refused' in reading} {data!r}"


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.smuggling.readings", description=__doc__.partition("\n")[0])
    parser.add_argument("--changes", type=int, default=50_000, help="changed messages of each kind")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--other", metavar="PYTHON", help="of the other environment; without it, print the readings")
    options = parser.parse_args()
    if options.other is None:
        print(f"rainbowd {__version__}, compiled: {is_compiled()}", file=sys.stderr)
        for line in readings(options.changes, options.seed):
            print(line)
        return 0
    return compare(options.other, options.changes, options.seed)


def compare(other: str, changes: int, seed: int) -> int:
    """Read all messages here and in the other environment, and print the differences."""
    command = [other, "-m", "tests.smuggling.readings", "--changes", str(changes), "--seed", str(seed)]
    theirs = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    ours = list(readings(changes, seed))
    different = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    for mine, yours in different[:20]:
        print(f"here:  {mine}\nthere: {yours}")
    refused = sum(line.split(" ", 3)[2] == "True" for line in ours)
    print(
        f"seed {seed}: {len(ours)} messages, {refused} refused in whole or in part, {len(different)} read differently"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
