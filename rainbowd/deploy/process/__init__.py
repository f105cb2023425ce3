"""The processes of apps and hooks: launched, found in /proc, ended and reaped."""

from rainbowd.deploy.process.agent_leftovers import Leftovers, end_leftovers, find_leftovers
from rainbowd.deploy.process.cgroups import remove_left_cgroups
from rainbowd.deploy.process.launches import Launch, LaunchMarks
from rainbowd.deploy.process.oom import protect_agent, restore_agent
from rainbowd.deploy.process.process_identity import ProcessIdentity
from rainbowd.deploy.process.process_origin import OWN_DAEMON, find_origin, find_shared
from rainbowd.deploy.process.process_tree import ExitReport, ProcessTree
from rainbowd.deploy.process.procfs import read_command, read_entry, read_table
from rainbowd.deploy.process.reaper import (
    reap,
    reap_orphans,
    registering,
    release_status,
    reserve_status,
    reset_signals,
)
from rainbowd.deploy.process.spawner import spawn
from rainbowd.deploy.process.survivors import check_foreign, name_process, survivors, why_foreign
from rainbowd.deploy.process.usage import read_usage

__all__ = [
    "OWN_DAEMON",
    "ExitReport",
    "Launch",
    "LaunchMarks",
    "Leftovers",
    "ProcessIdentity",
    "ProcessTree",
    "check_foreign",
    "end_leftovers",
    "find_leftovers",
    "find_origin",
    "find_shared",
    "name_process",
    "protect_agent",
    "read_command",
    "read_entry",
    "read_table",
    "read_usage",
    "reap",
    "reap_orphans",
    "registering",
    "release_status",
    "remove_left_cgroups",
    "reserve_status",
    "reset_signals",
    "restore_agent",
    "spawn",
    "survivors",
    "why_foreign",
]
