"""Watching the release link and the trigger file for changes that request a deploy."""
