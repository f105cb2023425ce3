"""Deploys: which release should be live, and how it becomes live.

- ``service``: all of it, as one object for the agent.
- ``watch``: notices changes of the link and the trigger file.
- ``deploys``: turns requests into one deploy at a time, carries it out and records its outcome.
- ``generations``: the live generation, the standby, and the lifecycle of each.
- ``interfaces``: all that deploys and lifecycles need from the host; tests put a fake in its place.
- ``host``: the real host, which launches apps, checks them, and reads and writes files.
- ``process``: the processes of an app, as the host starts and ends them.
"""
