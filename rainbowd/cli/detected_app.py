"""An app that ``rainbowd init`` found."""

from __future__ import annotations

from dataclasses import dataclass, field

Health = str | dict[str, object]


@dataclass
class DetectedApp:
    """An app.

    Attributes:
        seen: what was seen, for people.
        server: a name of ``SERVERS``, or empty if ``command`` runs it.
        apps: what a server is told to serve, by its kind.
        command: of a Procfile.
        health: a path, or an object.
        prefix: words before the server's command.
        programs: the directory that the command is in, with a slash; empty for ``PATH``.
        env: what its environment has to have.
        hook: a command for ``before_launch``; empty for none.
        directory: below the release, if the app is not at its top; the command runs there.
        notes: what its owner should know.
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
    directory: str = ""
    notes: list[str] = field(default_factory=list)
