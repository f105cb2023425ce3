"""Rolling deploys over the machines of one app, which agree through etcd; loaded only if ``fleet`` is configured.

There is no coordinator.  A command writes an order.  Each member applies the same pure function, ``decide``, to a
snapshot of the same keys, and writes one document with a compare-and-swap.  When it is a machine's turn, the fleet
requests a deploy there as the API does: it points the release link at the release.
"""
