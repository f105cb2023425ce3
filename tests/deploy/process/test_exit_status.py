from __future__ import annotations

import pytest

from rainbowd.deploy.process.exit_status import describe_exit


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "ended"),
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (126, "exited with status 126 (a command is not executable)"),
        (127, "exited with status 127 (a command was not found)"),
        (-9, "was ended by SIGKILL"),
        (-40, "was ended by signal 40"),
    ],
)
def test_an_exit_status_is_described_in_words(status: int | None, words: str) -> None:
    assert describe_exit(status) == words
