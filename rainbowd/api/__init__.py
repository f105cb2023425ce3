"""The opt-in REST API: imported only if it is enabled, and harmless to the proxy even if it fails."""
