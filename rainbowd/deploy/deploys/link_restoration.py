"""The link after a failed deploy: an agent that has pointed it at the release points it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd import release_link
from rainbowd.errors import UsageError
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from rainbowd.deploy.deploys.deploy import Deploy

log = get_logger()


async def restore_link_if_failed(deploy: Deploy) -> bool:
    """Wait for the end of ``deploy``; if it has failed, restore the link, unless somebody has changed it since.

    Nothing is restored if another agent continues the deploy, which then restores the link.

    Args:
        deploy: has the change of the link.

    Returns:
        Whether the link was restored.
    """
    await deploy.finished.wait()
    change, outcome = deploy.link_change, deploy.outcome
    if change is None or outcome is None or outcome.result != "failed":
        return False
    with trio.CancelScope(shield=True):  # an upgrade may begin right now, and no later agent would do it
        try:
            is_restored = await trio.to_thread.run_sync(release_link.restore, change)
        except (UsageError, OSError) as error:
            log.warning("cannot restore the link after a failed deploy", deploy=deploy.id, error=str(error))
            return False
    if is_restored:
        log.info("link pointed back", deploy=deploy.id, release_link=change.link, to=change.before)
    return is_restored
