"""What ``rainbowd check`` finds out about a config: what would be refused, and what is seldom meant."""

from rainbowd.cli.judging.findings import Findings, judge

__all__ = ["Findings", "judge"]
