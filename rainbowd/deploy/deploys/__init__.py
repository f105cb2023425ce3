"""Deploys, one at a time: what asks for one, its hooks, its launch and its outcome."""
