"""Deploys, one at a time: what requests a deploy, its hooks, its execution, and the record of its outcome."""
