"""The description of an app that ``rainbowd init`` detected."""

from __future__ import annotations

from dataclasses import dataclass, field

Health = str | dict[str, object]


@dataclass
class DetectedApp:
    """An app, and the way to run it.

    Attributes:
        seen: what was detected, in sentences for people.
        server: a name of ``SERVERS``, or empty if ``command`` runs the app.
        apps: the app that a server serves, by kind: the keys are those of ``KINDS``.
        command: the command of a Procfile.
        health: the health check, a path or an object.
        prefix: arguments before the server's command.
        programs: the directory of the server's program, with a slash; empty to search ``PATH``.
        env: environment variables that the app needs.
        hook: a command for ``before_launch``; empty for none.
        processes: its companion processes, as the config has them, by name.
        directory: the app's directory inside of the release; empty if the app is at its top.
        notes: what the user should know about the app.
    """

    seen: list[str] = field(default_factory=list)
    server: str = ""
    apps: dict[str, str] = field(default_factory=dict)
    command: str = ""
    health: Health = "/"
    prefix: tuple[str, ...] = ()
    programs: str = ""
    env: dict[str, str] = field(default_factory=dict)
    hook: str = ""
    processes: dict[str, dict[str, object]] = field(default_factory=dict)
    directory: str = ""
    notes: list[str] = field(default_factory=list)
