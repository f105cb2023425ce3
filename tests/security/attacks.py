"""The table of the attacks.

A test's docstring names what is tried, and its name what is expected. It records what it saw as the property ``got``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Table:
    """A plugin of pytest that prints a line for each attack: what was tried, expected and seen."""

    def __init__(self) -> None:
        self.ok = self.failed = self.skipped = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the outcome of a test, once."""
        if report.when != "call" and report.outcome == "passed":
            return
        word = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}[report.outcome]
        self.ok += word == "ok"
        self.failed += word == "FAILED"
        self.skipped += word == "skipped"
        _, _, name = report.nodeid.partition("::test_")
        expected, _, variant = name.partition("[")
        tried = dict(report.user_properties).get("tried", "")
        print(f"\n{word:8}TRIED   {tried}{f' [{variant}' if variant else ''}")
        print(f"        EXPECT  {expected.replace('_', ' ')}")
        print(f"        GOT     {_got(report)}", flush=True)


def _got(report: pytest.TestReport) -> str:
    """Return what a test recorded, or why it ended."""
    recorded = [str(value) for name, value in report.user_properties if name == "got"]
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        recorded.append(report.longrepr[2])
    if report.outcome == "failed":
        crash = getattr(report.longrepr, "reprcrash", None)
        recorded.append(crash.message if crash else report.longreprtext)
    return "; ".join(recorded) or "as expected"
