"""Fabric: ``fab -H server.example.org deploy`` uploads what is committed and deploys it.

Expected on the server: an agent that runs by ``DIRECTORY/rainbowd.json``, whose ``release`` is ``current``.  Where the
deploy fails, so does fab, with its exit status, and what was live still is.
"""

import shlex
import tempfile
import time
from pathlib import Path

from fabric import task

DIRECTORY = "/srv/hello"


@task(help={"revision": "what to deploy; default: HEAD", "directory": f"on the server; default: {DIRECTORY}"})
def deploy(c, revision="HEAD", directory=DIRECTORY):
    """Make a release of a revision, deploy it, and wait for how that ends."""
    release = f"{directory}/releases/{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    with tempfile.TemporaryDirectory() as here:
        archive = Path(here) / "release.tar"
        c.local(f"git archive --output={archive} {shlex.quote(revision)}")
        c.run(f"mkdir -p {release}")
        c.put(str(archive), f"{release}.tar")
    c.run(f"tar -x -C {release} -f {release}.tar && rm {release}.tar")
    c.run(f"rainbowd deploy --config {directory}/rainbowd.json --note={shlex.quote(revision)} {release}")


@task(help={"directory": f"on the server; default: {DIRECTORY}"})
def rollback(c, directory=DIRECTORY):
    """Go back to the release that was live before."""
    c.run(f"rainbowd rollback --config {directory}/rainbowd.json")
