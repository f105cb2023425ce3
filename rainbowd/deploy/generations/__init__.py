"""Generations: which one is live, and the lifecycle of each, from its launch to its last process."""
