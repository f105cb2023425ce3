"""The files through which an agent reports: ``status.json``, the journal, the lock and the agent's identity."""
