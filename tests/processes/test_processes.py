"""As much of the matrix as continuous integration has time for; ``python -m tests.processes`` is all of it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import ROOT
from tests.processes import table
from tests.processes.rows import APPS, QUEUES
from tests.processes.site import run
from tests.servers.environments import Missing

if TYPE_CHECKING:
    from pathlib import Path

DEPLOYS = 2
JOB_SECONDS = 1.0


@pytest.mark.live
@pytest.mark.long
def test_celery_is_deployed_at_work_and_loses_no_job(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    celery = next(queue for queue in QUEUES if queue.name == "celery")
    try:
        result = run(
            replace(celery, job_seconds=JOB_SECONDS), DEPLOYS, tmp_path, tmp_path_factory.mktemp("environments")
        )
    except Missing as problem:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(problem))
    print(result)
    assert replace(result, twice=[]).is_good  # a job that Celery itself runs twice is left to the whole matrix
    assert result.deploys == DEPLOYS
    assert result.jobs > 0
    assert result.requests > 0


def test_every_queue_has_an_app_and_a_result() -> None:
    assert all((APPS / queue.app).is_dir() for queue in QUEUES)
    measured = [(one["name"], one["title"]) for one in table.read()["queues"]]
    assert measured == [(queue.name, queue.title) for queue in QUEUES]


def test_the_kept_result_is_good() -> None:
    assert [one["name"] for one in table.read()["queues"] if not one["is_good"]] == []


def test_the_page_has_the_table_of_the_kept_result() -> None:
    page = (ROOT / "docs" / "processes.md").read_text()
    assert table.on_page(page) == table.of(table.read())
