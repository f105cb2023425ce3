"""Rolling deploys over the machines of one app, which agree through etcd; loaded only if ``fleet`` is configured.

There is no coordinator.  A command writes an order; each member applies the same pure function, ``decide``, to a
snapshot of the same keys, and writes one document with a compare-and-swap.  On each machine the files stay the
contract: the fleet requests a deploy as the API does, when it is this machine's turn.
"""
