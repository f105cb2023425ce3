"""What wrk's script prints is what we read."""

from __future__ import annotations

import re

import pytest

from bench import load
from bench.machine import BenchError

OUTPUT = """Running 4s test @ http://127.0.0.1:40001/
  131072 requests in 4.01s, 100.00MB read

measured requests=131072 seconds=4.010000 p50_us=812 p99_us=2044 errors=3
"""


def test_the_last_line_is_read_whole() -> None:
    assert load.parse(OUTPUT) == load.Load(131072, 4.01, 812.0, 2044.0, 3)


def test_output_without_a_measurement_is_shown() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_script_prints_the_fields_that_are_read() -> None:
    printed = re.search(r"measured [^\\]*", load.SCRIPT.read_text())
    assert printed is not None
    line = re.sub(r"%[\d.]*[df]", "1", printed[0])
    assert load.parse(line) == load.Load(1, 1.0, 1.0, 1.0, 1)
