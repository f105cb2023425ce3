"""What ``rainbowd check`` finds out about a config: what would be refused, and what is seldom meant."""

from rainbowd.cli.checks.findings import Findings, check_config

__all__ = ["Findings", "check_config"]
