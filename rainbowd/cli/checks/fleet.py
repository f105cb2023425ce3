"""The check of a fleet's engine: whether it answers, and what this machine may do there.

Nothing here would make a start fail, because an agent serves without its fleet; so the findings are warnings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.errors import RainbowdError
from rainbowd.fleet import documents
from rainbowd.fleet.documents import HISTORY, MEMBERS, ORDER, PRESENT, PROGRESS
from rainbowd.fleet.engine import PermissionDenied
from rainbowd.fleet.etcd import Etcd
from rainbowd.fleet.machine_id import machine_id

if TYPE_CHECKING:
    from rainbowd.cli.checks.findings import Findings
    from rainbowd.config import Config, FleetSettings

_SKEW_SECONDS = 5.0
_NEVER = -1
"""A revision that no key has, so that a transaction with it asks for the right to write, and writes nothing."""


def check_fleet(config: Config, found: Findings) -> None:
    """Check the engine of the config's fleet, and add to ``found``; without a fleet, do nothing."""
    if config.fleet is not None:
        try:
            trio.run(_check, config, config.fleet, found)
        except RainbowdError as error:
            found.warnings.append(f"fleet: {error}")


async def _check(config: Config, settings: FleetSettings, found: Findings) -> None:
    async with Etcd(settings) as etcd:
        for endpoint in settings.endpoints:
            await _check_endpoint(etcd, endpoint, found)
        present = documents.parse(await etcd.snapshot()).present.get(settings.member_name)
        if present is not None and present.machine != machine_id(config.state_dir):
            found.warnings.append(
                f"fleet.member: found {settings.member_name}, which is the name of another machine that is present; "
                "expected a unique name"
            )
        agent = [PROGRESS, *(f"{part}{settings.member_name}" for part in (MEMBERS, PRESENT, HISTORY))]
        denied = [key for key in agent if not await _may_write(etcd, key)]
        if denied:
            found.warnings.append(
                f"fleet.user: {settings.user} cannot write {', '.join(denied)}; expected the agents' user"
            )
        who = "everyone who can read its password" if settings.user else "everyone who reaches etcd"
        may = (
            f"{who} can deploy to the whole fleet"
            if await _may_write(etcd, ORDER)
            else "no order can be given from here"
        )
        found.notes.append(f"fleet {settings.name}: this is {settings.member_name}; {may}")


async def _check_endpoint(etcd: Etcd, endpoint: str, found: Findings) -> None:
    try:
        node = await etcd.inspect(endpoint)
    except RainbowdError as error:
        found.warnings.append(f"fleet.endpoints: {endpoint}: {error}")
        return
    found.notes.append(f"fleet: {endpoint} is etcd {node.version}")
    if node.skew_seconds is not None and abs(node.skew_seconds) > _SKEW_SECONDS:
        found.warnings.append(f"fleet.endpoints: {endpoint}: its clock differs by {abs(node.skew_seconds):.0f} s")


async def _may_write(etcd: Etcd, key: str) -> bool:
    try:
        await etcd.commit({key: _NEVER}, {key: ""})
    except PermissionDenied:
        return False
    return True
