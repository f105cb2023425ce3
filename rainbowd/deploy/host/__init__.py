"""The real world behind the seam: files, ports, commands, probes, output, and what an earlier agent left."""
