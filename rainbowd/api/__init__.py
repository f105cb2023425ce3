"""The opt-in control over HTTP: imported only where it is enabled, and harmless to the proxy whatever becomes of it."""
