"""The share of the clients that a canary gets: decided by a hash, so that each client stays with one version."""

from __future__ import annotations

import hashlib

_PARTS = 10_000


def whole_if_possible(share_percent: float) -> int | float:
    """Return ``share_percent`` as it is written in JSON: 25 for 25.0, and 2.5 as it is."""
    return int(share_percent) if share_percent == int(share_percent) else share_percent


def is_in_share(client_identity: bytes, share_percent: float, canary: int) -> bool:
    """Return whether a client belongs to the share of a canary.

    A client that is in a share is in every larger share of the same canary, too. Another canary gets others, so
    that the same clients do not meet every new release first.

    Args:
        client_identity: the bytes that identify the client.
        share_percent: from 0 to 100.
        canary: the id of the canary's generation.
    """
    digest = hashlib.blake2b(client_identity, digest_size=8, salt=b"%d" % canary).digest()
    return int.from_bytes(digest) % _PARTS < share_percent * (_PARTS / 100)
