"""Fabric: ``fab -H server.example.org deploy`` uploads what is committed and deploys it.

The server needs ``DIRECTORY/rainbowd.json``, with the ``release`` ``current``, and a running agent.  If the deploy
fails, so does fab, with the same exit status, and the previous release is still live.
"""

import re
import tempfile
import time
from pathlib import Path
from shlex import quote

from fabric import task

DIRECTORY = "/srv/hello"


@task(
    help={
        "revision": "the commit to deploy; default: HEAD",
        "directory": f"on the server; default: {DIRECTORY}",
        "keep": "how many old releases to keep, in addition to those in use; default: 5",
    }
)
def deploy(c, revision="HEAD", directory=DIRECTORY, keep=5):
    """Create a release of a revision, deploy it, and wait for the outcome."""
    release = f"{directory}/releases/{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    there, config = quote(release), quote(f"{directory}/rainbowd.json")
    with tempfile.TemporaryDirectory() as here:
        archive = Path(here) / "release.tar"
        c.local(f"git archive --output={archive} {quote(revision)}")
        c.run(f"mkdir -p {there}")
        c.put(str(archive), f"{release}.tar")
    c.run(f"tar -x -C {there} -f {there}.tar && rm {there}.tar")
    c.run(f"rainbowd deploy --config {config} --note={quote(revision)} {there}")

    in_use = c.run(f"rainbowd status --json --config {config}", hide=True).stdout
    names = c.run(f"ls {quote(f'{directory}/releases')}", hide=True).stdout.split()
    for name in sorted(name for name in names if re.fullmatch(r"20\d{12}", name))[:-keep]:
        if f'/{name}"' not in in_use:
            c.run(f"rm -rf {quote(f'{directory}/releases/{name}')}")


@task(help={"directory": f"on the server; default: {DIRECTORY}"})
def rollback(c, directory=DIRECTORY):
    """Deploy the release that was live before."""
    c.run(f"rainbowd rollback --config {quote(f'{directory}/rainbowd.json')}")
