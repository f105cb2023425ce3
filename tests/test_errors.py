from __future__ import annotations

import errno
import os

import pytest

from rainbowd.errors import ConfigError, DeployFailed, NotRunning, RainbowdError, Unwritable, UsageError


@pytest.mark.parametrize(
    ("error", "exit_status"),
    [
        (RainbowdError("x"), 1),
        (DeployFailed("x"), 1),
        (UsageError("x"), 2),
        (ConfigError("x"), 2),
        (NotRunning("x"), 3),
    ],
)
def test_an_error_knows_the_exit_status_of_its_command(error: RainbowdError, exit_status: int) -> None:
    assert error.exit_status == exit_status


def test_a_config_error_has_one_problem_a_line() -> None:
    error = ConfigError("a: found 1; expected 2", "b: found 3; expected 4")
    assert str(error) == "a: found 1; expected 2\nb: found 3; expected 4"
    assert error.problems == ("a: found 1; expected 2", "b: found 3; expected 4")


def test_a_failed_deploy_keeps_the_output_of_the_app_with_its_reason() -> None:
    error = DeployFailed("exited with status 1", ["Traceback", "ValueError"])
    assert (str(error), error.reason) == ("exited with status 1", "exited with status 1")
    assert error.output == ["Traceback", "ValueError"]


def test_failed_deploys_without_output_do_not_share_one_list() -> None:
    DeployFailed("first").output.append("line")
    assert DeployFailed("second").output == []


@pytest.mark.parametrize(
    ("number", "status"), [(errno.EACCES, 2), (errno.ENOTDIR, 2), (errno.ENOSPC, 1), (errno.EIO, 1)]
)
def test_an_unwritable_file_is_the_fault_of_the_user_or_of_the_machine(number: int, status: int) -> None:
    error = Unwritable("f: cannot be written", OSError(number, os.strerror(number)))
    assert (error.exit_status, str(error)) == (status, f"f: cannot be written: {os.strerror(number)}")
