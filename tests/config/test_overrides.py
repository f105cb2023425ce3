from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.config import Config, with_overrides
from rainbowd.errors import UsageError

Load = Callable[..., Config]


def test_the_command_line_overrides_the_file(loaded: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(listen="localhost:1", log={"access": True})
    monkeypatch.chdir("/")
    changed = with_overrides(config, ["localhost:2", "unix:x.sock"], "debug")
    assert changed.listen == (TcpAddress("localhost", 2), UnixAddress(Path("/x.sock")))
    assert (changed.log.level, changed.log.access) == ("debug", True)
    assert not changed.api.enabled
    assert with_overrides(config, None, None, enable_api=True).api.enabled
    assert with_overrides(config, None, None) == config


@pytest.mark.parametrize(
    ("listen", "log_level", "problem"),
    [
        (["7000"], None, '--listen: found "7000"; expected HOST:PORT'),
        (["a b:1"], None, '--listen: found "a b:1"; expected an IP address or a name'),
        (None, "loud", '--log-level: found "loud"; expected one of "debug"'),
    ],
)
def test_a_bad_override_names_its_option(
    loaded: Load, listen: list[str] | None, log_level: str | None, problem: str
) -> None:
    with pytest.raises(UsageError) as caught:
        with_overrides(loaded(), listen, log_level)
    assert problem in str(caught.value)
