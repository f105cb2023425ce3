"""The release link and the trigger file: what they say, and when they change."""
