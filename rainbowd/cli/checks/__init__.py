"""What ``rainbowd check`` finds out about a config: what would be refused, and what is seldom meant."""

from rainbowd.cli.checks.findings import Findings, judge

__all__ = ["Findings", "judge"]
