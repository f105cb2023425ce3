"""What a proxied request costs, beside nginx and HAProxy in one run: ``python bench/requests.py [--rounds N]``.

Needs wrk, nginx and haproxy (Debian's packages of these names).  The proxy under test has one core, the load (wrk) and
the upstream (nginx) have the other.  Rounds are interleaved, so that a noisy minute hits every proxy alike; what is
printed is the median, with the least and the most.  CPU time is read from /proc and is the proxy's alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1
BROWSER_FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://localhost/somewhere/else",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
)
UPSTREAM = """
worker_processes 1; daemon off; pid {dir}/upstream.pid; error_log {dir}/upstream.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{upstream} backlog=4096; location / {{ return 200 "hello world\\n"; }} }} }}
"""
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000;
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}
"""
HAPROXY = """
global
  nbthread 1
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server app 127.0.0.1:{upstream}
"""


@dataclass
class Proxy:
    """One proxy under test."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """Of all its processes so far."""
        pids = [self.process.pid, *_children(self.process.pid)]
        return sum(_cpu_ticks(pid) for pid in pids) / TICKS_A_SECOND


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of load, a measurement")
    options = parser.parse_args()
    for program in ("wrk", "nginx", "haproxy"):
        if _which(program) is None:
            sys.exit(f"bench: {program} is not installed; it is Debian's package of that name")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        proxies = _start(Path(directory), stack)
        print(f"{'head':8} {'conns':>5}  " + "  ".join(f"{proxy.name:>24}" for proxy in proxies))
        for head, fields in (("short", ()), ("browser", BROWSER_FIELDS)):
            for connections in (1, 32, 256):
                rounds = [
                    [_measure(p, connections, fields, options.seconds) for p in proxies] for _ in range(options.rounds)
                ]
                _print_row(head, connections, [list(costs) for costs in zip(*rounds, strict=True)])


def _print_row(head: str, connections: int, costs: list[list[float]]) -> None:
    medians = [statistics.median(each) for each in costs]
    nginx = medians[1]
    cells = [
        f"{median:6.1f} us ({min(each):.0f}-{max(each):.0f}) {median / nginx:4.1f}x"
        for median, each in zip(medians, costs, strict=True)
    ]
    print(f"{head:8} {connections:5}  " + "  ".join(f"{cell:>24}" for cell in cells), flush=True)


def _measure(proxy: Proxy, connections: int, fields: tuple[str, ...], seconds: int) -> float:
    """Microseconds of the proxy's CPU a request."""
    options = [option for field in fields for option in ("-H", field)]
    before = proxy.cpu_seconds()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", *options, f"http://127.0.0.1:{proxy.port}/some/path"]
    output = subprocess.run(_pinned(LOAD_CORE, command), capture_output=True, text=True, check=True).stdout
    spent = proxy.cpu_seconds() - before
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"bench: {proxy.name} failed requests:\n{output}")
    found = re.search(r"(\d+) requests in", output)
    assert found is not None
    return spent / int(found[1]) * 1e6


def _start(directory: Path, stack: contextlib.ExitStack) -> list[Proxy]:
    upstream = _free_port()
    (directory / "upstream.conf").write_text(UPSTREAM.format(dir=directory, upstream=upstream))
    stack.enter_context(_running(LOAD_CORE, [_which("nginx") or "", "-c", str(directory / "upstream.conf")], upstream))
    proxies = []
    for name in ("rainbowd", "nginx", "haproxy"):
        port = _free_port()
        template = {"nginx": NGINX, "haproxy": HAPROXY}.get(name, "")
        config = directory / f"{name}.conf"
        config.write_text(template.format(dir=directory, port=port, upstream=upstream))
        command = {
            "rainbowd": [
                *(sys.executable, "-m", "rainbowd", "proxy"),
                *("--upstream", f"127.0.0.1:{upstream}", "--listen", f"127.0.0.1:{port}"),
            ],
            "nginx": [_which("nginx") or "", "-c", str(config)],
            "haproxy": [_which("haproxy") or "", "-db", "-f", str(config)],
        }[name]
        proxies.append(Proxy(name, port, stack.enter_context(_running(PROXY_CORE, command, port))))
    return proxies


@contextlib.contextmanager
def _running(core: int, command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server, once it listens; ended behind."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        _pinned(core, command), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        else:
            sys.exit(f"bench: {command[0]} does not listen")
        yield process
    finally:
        process.terminate()
        process.wait(10)
        if process.stderr is not None:
            process.stderr.close()


def _pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core % (os.cpu_count() or 1)), *command]


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
