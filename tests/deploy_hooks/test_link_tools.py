"""Tools that cannot be had from Debian or PyPI: what they do on the server, as their own scripts do it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy_hooks.server import HOOKS, Run, launches, live, run
from tests.live.agent import needs, running

pytestmark = pytest.mark.live

PHP = Path(__file__).with_name("deployer.php")
BROKEN = {"exit_status": 3, "output": ["no such table: users"]}

# The last steps of the script that Mina makes: link, launch, and the undoing of both.
MINA = """
cd {directory}
previous_path=$(cd current && pwd -LP)
release_path={directory}/releases/{release}
(ln -nfs "$release_path" "{directory}/current") && (cd "{directory}/current"
  {launch}
) || (
  rm -rf "$release_path"
  ln -nfs "$previous_path" "{directory}/current"
  exit 19
)
"""


def launch_command(directory: Path) -> str:
    """What mina.rb has Mina do at the launch."""
    (found,) = re.findall(r"command %\((.*)\)", (HOOKS / "mina.rb").read_text())
    return str(found).replace("#{fetch(:deploy_to)}", str(directory))


def test_mina_turns_a_link_of_its_own_and_launches_what_is_deployed_once(tmp_path: Path) -> None:
    (tmp_path / "live").symlink_to("releases/a")
    with running(tmp_path, release="live") as agent:

        def mina(release: str) -> Run:
            words = {"directory": tmp_path, "release": release, "launch": launch_command(tmp_path)}
            return run(tmp_path, needs("bash"), "-c", MINA.format(**words))

        assert mina("b").status == 0
        assert live(agent) == str(tmp_path / "releases" / "b")
        agent.add_release("bad", **BROKEN)
        bad = mina("bad")
        assert bad.status == 19
        assert "no such table: users" in bad.output
        assert live(agent) == str((tmp_path / "live").resolve()) == str((tmp_path / "current").resolve())
        assert not (tmp_path / "releases" / "bad").exists()
        assert launches(agent) == 3


def test_deployer_deploys_and_rolls_back_with_the_recipe(tmp_path: Path) -> None:
    php = needs("php")
    with running(tmp_path) as agent:

        def dep(task: str, release: str = "") -> Run:
            """As ``deploy:release`` leaves it: the new release is linked to as ``release``."""
            if release:
                (tmp_path / "release").symlink_to(f"releases/{release}")
            paths = [f"deploy_path={tmp_path}", f"release_path={tmp_path}/releases/{release}"]
            return run(tmp_path, php, str(PHP), str(HOOKS / "deployer.php"), task, *paths)

        assert dep("deploy:symlink", "b").status == 0
        assert live(agent) == str(tmp_path / "releases" / "b")
        assert not (tmp_path / "release").is_symlink()
        agent.add_release("bad", **BROKEN)
        bad = dep("deploy:symlink", "bad")
        assert bad.status == 1
        assert "no such table: users" in bad.output
        assert str(agent.link.resolve()) == live(agent) == str(tmp_path / "releases" / "b")
        assert dep("rollback").status == 0
        assert live(agent) == str(tmp_path / "releases" / "a")


def test_the_ruby_and_php_files_parse(tmp_path: Path) -> None:
    for name in ("capistrano.rake", "mina.rb"):
        assert run(tmp_path, needs("ruby"), "-c", str(HOOKS / name)).status == 0
    assert run(tmp_path, needs("php"), "-l", str(HOOKS / "deployer.php")).status == 0
