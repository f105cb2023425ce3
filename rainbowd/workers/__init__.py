"""Workers: more processes that serve requests, so that rainbowd uses more than one core.

The agent serves too.  A worker accepts on the agent's listening sockets and is a follower of the agent: see
``rainbowd.peers``.  Loaded only if the config has ``workers`` above 1.

- ``pool``: the agent's side: starts the workers, starts them again when they end, and ends them with the agent.
- ``process``: the process of a worker, as the agent starts and reaps it.
- ``worker``: one worker, as the agent sees it.
- ``main``: the program of a worker.
- ``messages``: what the two send to each other, in addition to ``rainbowd.peers.messages``.
- ``shared``: the numbers that all processes share, without messages.
"""
