"""Fabric: ``fab -H server.example.org deploy`` uploads what is committed and deploys it.

Expected on the server: an agent that runs by ``DIRECTORY/rainbowd.json``, whose ``release`` is ``current``.  Where the
deploy fails, so does fab, with its exit status, and what was live still is.
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
        "revision": "what to deploy; default: HEAD",
        "directory": f"on the server; default: {DIRECTORY}",
        "keep": "how many old releases stay, beside those in use; default: 5",
    }
)
def deploy(c, revision="HEAD", directory=DIRECTORY, keep=5):
    """Make a release of a revision, deploy it, and wait for how that ends."""
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
    """Go back to the release that was live before."""
    c.run(f"rainbowd rollback --config {quote(f'{directory}/rainbowd.json')}")
