from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import Config, cautions, check_api_exposure, exposure_problems, token_directory
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., Config]

ELSEWHERE: dict[str, object] = {"release": "current", "state_dir": "state"}


@pytest.fixture(autouse=True)
def releases(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")


def test_a_disabled_api_is_not_checked(loaded: Load) -> None:
    assert exposure_problems(loaded(release="current", state_dir="current/state", api={"listen": "0.0.0.0:7001"})) == []


@pytest.mark.parametrize("listen", ["127.0.0.1:7001", "127.8.0.1:1", "[::1]:7001", "localhost:7001", "unix:api.sock"])
def test_an_api_for_this_machine_alone_needs_no_token_file(loaded: Load, listen: str) -> None:
    check_api_exposure(loaded(api={"enabled": True, "listen": listen}, **ELSEWHERE))


@pytest.mark.parametrize("listen", ["0.0.0.0:7001", "[::]:7001", "192.0.2.1:7001", "db.example:7001"])
def test_an_api_for_other_machines_needs_a_token_file(loaded: Load, listen: str) -> None:
    (problem,) = exposure_problems(loaded(api={"enabled": True, "listen": listen}, **ELSEWHERE))
    assert problem.startswith(f"api.listen: found {listen}, which other machines can reach; expected ")
    check_api_exposure(loaded(api={"enabled": True, "listen": listen, "token_file": "token"}, **ELSEWHERE))


def test_a_token_that_the_app_may_publish_is_made_elsewhere(
    loaded: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runtime").mkdir(0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/runtime")
    config = loaded(api={"enabled": True}, release="current", state_dir="v1/state")
    check_api_exposure(config)
    place = token_directory(config)
    assert place is not None
    assert place.is_relative_to(tmp_path / "runtime")
    assert any(f"the token is in {place}" in line for line in cautions(config))
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/v1")
    place = token_directory(config)
    assert place is None or not place.is_relative_to(tmp_path / "runtime"), "the app may publish that one too"


def test_a_token_that_the_app_may_publish_is_refused(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: dict[str, object] = {"release": "current", "state_dir": "v1/state"}
    monkeypatch.setattr("rainbowd.config.api_exposure.find_runtime_dir", lambda _state_dir, _environ: None)
    with pytest.raises(ConfigError, match=r"^state_dir: found .* expected another state_dir, or an api.token_file"):
        check_api_exposure(loaded(api={"enabled": True}, **inside))
    check_api_exposure(loaded(api={"enabled": True, "token_file": "token"}, **inside))
    with pytest.raises(ConfigError, match=r"^api.token_file: found .* inside the release"):
        check_api_exposure(loaded(api={"enabled": True, "token_file": "current/token"}, **ELSEWHERE))
