"""What the agent tells the world through files: ``status.json``, the journal, the lock with its pid."""
