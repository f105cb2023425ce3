"""Deploys, one at a time: what requests a deploy, its hooks, its rollout, and the record of its outcome."""
