"""The implementation of ``interfaces.Host``: files, ports, commands, probes, output, and an earlier agent's records."""
