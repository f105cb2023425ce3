"""Which process answers at a generation's address: its own, another generation's, or another program's."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.host.listening_sockets import holders, owns
from rainbowd.deploy.process import (
    OWN_DAEMON,
    find_origin,
    find_shared,
    name_process,
    read_command,
    read_table,
    why_foreign,
)

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.deploy.process import ProcessTree


class Kind(enum.Enum):
    """The relation of a listening socket to a generation."""

    OWN = enum.auto()
    NOBODY = enum.auto()
    HIDDEN = enum.auto()  # /proc does not show it
    SHARED = enum.auto()  # a process of this generation, which another generation has started
    OTHERS = enum.auto()  # a process of another generation
    FOREIGN = enum.auto()  # another account's, which this generation or another one has started
    STRANGER = enum.auto()


@dataclass(frozen=True)
class Holder:
    """The holder of the socket that a connect to an address reaches.

    Attributes:
        kind: its relation to the generation.
        reason: what is wrong with it, in words; empty if nothing is.
        command: of another program, without numbers, so that it can be recognised on another port.
    """

    kind: Kind
    reason: str = ""
    command: str = ""


async def find_holder(process: ProcessTree, address: Address) -> Holder:
    """Find which process answers at ``address``, on which the generation ``process`` should listen."""
    pids = await process.members()
    is_own = await trio.to_thread.run_sync(owns, pids, address)
    if is_own:
        held = await trio.to_thread.run_sync(holders, pids, address)
        shared = await trio.to_thread.run_sync(find_shared, process.launch, held.pids)
        return Holder(Kind.OWN) if shared is None else Holder(Kind.SHARED, f"{address} is answered by {shared}")
    others = await trio.to_thread.run_sync(lambda: holders([*read_table()], address))
    if others.pids:
        return await trio.to_thread.run_sync(_stranger, others.pids[0], address)
    if is_own is None:
        return Holder(Kind.HIDDEN)
    if others.is_bound:
        return Holder(Kind.STRANGER, f"{address} is answered by a process that is not of this generation")
    return Holder(Kind.NOBODY)


def _stranger(pid: int, address: Address) -> Holder:
    """Describe the process that holds the socket; reads all of /proc."""
    origin = find_origin(pid)
    if origin is None:
        kind, whose = Kind.STRANGER, "started outside of this generation"
    elif origin.is_foreign:
        kind, whose = Kind.FOREIGN, f"not of this generation's account: {why_foreign()}"
    else:
        kind = Kind.OTHERS
        whose = f"which generation {origin.generation} has started: both share one daemon; {OWN_DAEMON}"
    reason = f"{address} is answered by {name_process(pid)}, {whose}"
    return Holder(kind, reason, re.sub(r"\d+", "#", read_command(pid)))
