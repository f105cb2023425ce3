"""A holder of leases without a connection."""

from __future__ import annotations


class FakeHolder:
    """A request or a tunnel that holds a lease; its identity is the name by which it is requested.

    Attributes:
        is_cut: whether it was cut.
    """

    def __init__(self) -> None:
        self.is_cut = False

    def client_identity(self, by: str) -> bytes:
        """Return the bytes that identify the client."""
        return by.encode()

    def cut(self) -> None:
        """Note that it was cut."""
        self.is_cut = True
