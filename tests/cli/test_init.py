from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.cli import main
from rainbowd.cli.recipe import APP, KINDS
from rainbowd.cli.recipes import RECIPES, SERVERS
from rainbowd.config import load
from tests.accounts import needs_root, uid
from tests.cli.app_files import FOUND
from tests.servers.rows import APPS, ROWS

if TYPE_CHECKING:
    from tests.servers.rows import Row

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "shop"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def written(place: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((place / "rainbowd.json").read_text())
    return config


@pytest.mark.parametrize(
    ("app", "program", "served"),
    [
        ("asgi", "uvicorn", "app:app"),
        ("django", "gunicorn", "shop.wsgi"),
        ("fastapi", "uvicorn", "main:app"),
        ("flask", "flask", "app:app"),
        ("wsgi", "gunicorn", "app:application"),
        ("plain", "python3", "server.py"),
        ("rack", "puma", "config.ru"),
        ("rails", "puma", "config.ru"),
        ("sinatra", "puma", "config.ru"),
        ("async", "ruby", "server.rb"),
        ("node", "node", "server.js"),
        ("cluster", "node", "server.js"),
        ("express", "node", "server.js"),
        ("fastify", "node", "server.js"),
        ("php", "php", "index.php"),
        ("java", "java", "Server.java"),
        ("static", "busybox", "."),
    ],
)
def test_an_app_of_each_kind_is_run_as_it_is_made_to_be(here: Path, app: str, program: str, served: str) -> None:
    shutil.copytree(APPS / app, here, dirs_exist_ok=True)
    assert main(["init"]) == 0
    config = written(here)
    assert config["run"][0] == program
    assert served in config["run"]
    assert config["listen"] == "127.0.0.1:7000"
    assert config["release"] == "."
    assert config["state_dir"] == "../.rainbowd-shop"
    load(here / "rainbowd.json")


@pytest.mark.parametrize(
    ("file", "source", "served"),
    [
        (
            "flaskr/__init__.py",
            "def create_app(config=None):\n    app = Flask(__name__)\n    return app\n",
            "flaskr:create_app()",
        ),
        ("wsgi.py", "from shop import create_app\napp = create_app()\n", "wsgi:app"),
        ("shop/asgi.py", "application = make()\n", "shop.asgi:application"),
    ],
)
def test_an_application_that_is_made_by_a_function_is_found(here: Path, file: str, source: str, served: str) -> None:
    (here / file).parent.mkdir(exist_ok=True)
    (here / file).write_text(source)
    assert main(["init"]) == 0
    assert served in written(here)["run"]


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_the_config_of_each_server_can_be_loaded(here: Path, server: str) -> None:
    recipe = SERVERS[server]
    assert main(["init", "--server", server, *(["--app", "x"] if recipe.serves else [])]) == 0
    run = written(here)["run"]
    assert run == ["x" if word == APP else word for word in recipe.run]
    assert load(here / "rainbowd.json").warnings == ()


@pytest.mark.parametrize("server", [name for name, recipe in SERVERS.items() if recipe.serves])
def test_a_server_needs_an_app_to_serve(here: Path, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "README.md").write_text("no app")
    assert main(["init", "--server", server]) == 2
    told = capsys.readouterr().err
    assert f"--server {server}: found no app in {here}; give --app {KINDS[SERVERS[server].serves]}" in told
    assert not (here / "rainbowd.json").exists()


def test_a_server_does_not_get_an_app_of_another_kind(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "config.ru").touch()
    assert main(["init", "--server", "gunicorn"]) == 2
    assert "give --app a WSGI application" in capsys.readouterr().err


def test_an_app_without_a_server_that_serves_it_is_refused(here: Path) -> None:
    assert main(["init", "--server", "npm", "--app", "x"]) == 2


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_of_the_matrix_gets_its_config(here: Path, row: Row) -> None:
    shutil.copytree(APPS / row.app, here, dirs_exist_ok=True)
    assert main(["init", "--server", row.recipe]) == 0
    config = written(here)
    assert [word for word in config["run"] if word in {"", "APP"}] == []
    served = [word.partition(":")[0] for word in config["run"] if word not in RECIPES[row.recipe].run]
    assert all((here / name).exists() or (here / f"{name}.py").exists() or "." in name for name in served)
    path = config["health"]["path"] if isinstance(config["health"], dict) else config["health"]
    assert path == ("/index.html" if row.app == "static" else "/up")


@pytest.mark.parametrize("name", ["rainbowd.json", "rainbow.conf.json"])
def test_an_existing_config_is_never_overwritten(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "config.ru").touch()
    (here / name).write_text("mine")
    assert main(["init"]) == 2
    assert name in capsys.readouterr().err
    assert {file.name: file.read_text() for file in here.glob("rainbow*")} == {name: "mine"}


def test_not_even_a_dangling_link_is(here: Path) -> None:
    (here / "config.ru").touch()
    (here / "rainbowd.json").symlink_to("elsewhere")
    assert main(["init"]) == 2
    assert not (here / "elsewhere").exists()


def test_a_directory_without_an_app_gets_no_config(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 2
    assert "--server" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_server_that_is_not_known_is_answered_with_those_that_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--server", "pumma"]) == 2
    told = capsys.readouterr().err
    assert "'pumma'" in told
    assert "puma-cluster" in told


def test_the_line_of_a_procfile_is_run_by_a_shell(here: Path) -> None:
    (here / "Procfile").write_text("worker: sidekiq\nweb: bundle exec puma -p $PORT\n")
    assert main(["init"]) == 0
    assert written(here)["run"] == "bundle exec puma -p $PORT"


def test_the_release_of_capistrano_is_the_one_that_is_linked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(APPS / "rack", here / "releases" / "1")
    (here / "current").symlink_to("releases/1")
    (here / "shared").mkdir()
    assert main(["init"]) == 0
    config = written(here)
    assert config["release"] == "current"
    assert config["trigger_file"] == "shared/redeploy.trigger"
    assert config["state_dir"] == "shared/rainbowd"
    told = capsys.readouterr().out
    assert "found  Rack" in told
    assert "ln -sfn releases/NEW" in told
    assert "shared/redeploy.trigger" in told


def test_a_site_with_a_host_name_and_https_gets_a_matching_health_check(here: Path) -> None:
    shutil.copytree(APPS / "django", here, dirs_exist_ok=True)
    assert main(["init"]) == 0
    health = written(here)["health"]
    assert health == {"path": "/up", "host": "shop.example", "headers": {"X-Forwarded-Proto": "https"}}


def test_rails_runs_for_production_and_is_checked_by_its_settings(here: Path) -> None:
    shutil.copytree(APPS / "rails", here, dirs_exist_ok=True)
    (here / "config" / "environments").mkdir()
    production = 'Rails.application.configure do\n  config.force_ssl = true\n  config.hosts = ["shop.example"]\nend\n'
    (here / "config" / "environments" / "production.rb").write_text(production)
    assert main(["init"]) == 0
    config = written(here)
    assert config["env"] == {"RAILS_ENV": "production"}
    assert config["health"] == {"path": "/up", "host": "shop.example", "headers": {"X-Forwarded-Proto": "https"}}


def test_the_place_of_the_directory_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "test" / "vendor"
    shutil.copytree(APPS / "django", place)
    monkeypatch.chdir(place)
    assert main(["init"]) == 0
    assert written(place)["health"]["path"] == "/up"


def test_without_a_health_page_any_answer_of_a_working_app_passes(here: Path) -> None:
    (here / "app.py").write_text("app = Flask(__name__)\n")
    assert main(["init"]) == 0
    assert written(here)["health"] == {"path": "/", "status": "200-399,401,403,404"}


def test_the_virtual_environment_of_the_release_is_the_one_that_is_used(here: Path) -> None:
    (here / "app.py").write_text("app = FastAPI()\n")
    (here / ".venv" / "bin").mkdir(parents=True)
    assert main(["init"]) == 0
    assert written(here)["run"][0] == ".venv/bin/uvicorn"


def test_packages_that_a_release_must_install_are_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "app.py").write_text("app = FastAPI()\n")
    (here / "requirements.txt").write_text("fastapi\nuvicorn\n")
    assert main(["init"]) == 0
    assert "`python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt`" in capsys.readouterr().out


def test_gems_are_those_of_the_gemfile(here: Path) -> None:
    (here / "config.ru").touch()
    (here / "Gemfile").write_text('gem "unicorn"\n')
    assert main(["init"]) == 0
    config = written(here)
    assert config["run"][:3] == ["bundle", "exec", "unicorn"]
    assert config["drain"] == {"signal": "QUIT"}


def test_a_start_script_that_is_more_than_node_is_left_to_npm(here: Path) -> None:
    (here / "package.json").write_text(json.dumps({"scripts": {"start": "NODE_ENV=production node ."}}))
    assert main(["init"]) == 0
    assert written(here)["run"] == ["npm", "start"]


@pytest.mark.parametrize("name", FOUND)
def test_an_app_is_found_by_its_files(here: Path, name: str) -> None:
    files, expected = FOUND[name]
    for file, text in files.items():
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        (here / file).write_text(text)
        (here / file).chmod(0o755)
    assert main(["init"]) == 0
    config = written(here)
    assert {key: config.get(key) for key in expected} == expected
    load(here / "rainbowd.json")


def test_a_development_server_with_a_fixed_port_is_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "package.json").write_text(json.dumps({"scripts": {"start": "vite preview --port 4173"}}))
    assert main(["init"]) == 0
    told = capsys.readouterr().out
    assert "note   the start script has a fixed port" in told
    assert "note   the start script is a development server" in told


def test_if_no_app_is_found_the_files_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "Procfile").write_text("worker: rq\n")
    (here / "lib").mkdir()
    assert main(["init"]) == 2
    told = capsys.readouterr().err
    assert "found Procfile, lib/ (the Procfile has no web: line, only worker); expected" in told
    assert "--blank" in told


def test_a_blank_config_explains_itself_and_can_be_loaded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--blank"]) == 0
    config = written(here)
    assert [comment.partition(":")[0] for comment in config["//"]][:2] == ["run", "health"]
    assert load(here / "rainbowd.json").config.run == ("./server", "--port", "{port}")
    assert main(["init", "--blank", "--server", "puma"]) == 2


@pytest.mark.parametrize("arguments", [(), ("--blank",)])
def test_the_schema_that_the_config_names_is_shipped_and_holds(here: Path, arguments: tuple[str, ...]) -> None:
    (here / "config.ru").touch()
    assert main(["init", *arguments]) == 0
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", written(here)["$schema"], "rainbowd.json"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_guessed_health_check_is_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "config.ru").touch()
    assert main(["init"]) == 0
    assert "note   add a health page to the app" in capsys.readouterr().out


@needs_root
def test_the_state_of_a_root_agent_is_kept_from_the_owner_of_the_app(here: Path) -> None:
    (here / "config.ru").touch()
    os.chown(here.parent, uid(), -1)
    assert main(["init"]) == 0
    assert written(here)["state_dir"] == "/var/lib/rainbowd/shop"


def test_a_fifo_is_not_read(here: Path) -> None:
    os.mkfifo(here / "app.py")
    assert main(["init"]) == 2


def test_check_finds_no_problem_in_the_written_config(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "server.py").write_text("from http.server import HTTPServer\n")
    assert main(["init"]) == 0
    assert main(["check"]) == 0
    complaints = [line for line in capsys.readouterr().err.splitlines() if "as root" not in line]
    assert complaints == []


def test_it_loads_nothing_heavy(here: Path) -> None:
    (here / "config.ru").touch()
    code = (
        "import sys; from rainbowd.cli import main; main(['init']);"
        "print(*sorted({'pydantic', 'trio', 'httpx', 'rich'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_the_variable_names_the_file_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Procfile").write_text("web: ./serve $PORT\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAINBOWD_CONFIG", str(tmp_path / "other.json"))
    assert main(["init"]) == 0
    assert (tmp_path / "other.json").exists()
    assert not (tmp_path / "rainbowd.json").exists()


def test_the_socket_that_two_generations_of_gunicorn_share_is_noted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "Procfile").write_text("web: gunicorn app:app -c 'it\n")
    assert main(["init"]) == 0
    assert "generations share: add --no-control-socket" in capsys.readouterr().out
    (here / "rainbowd.json").unlink()
    (here / "Procfile").write_text("web: gunicorn --no-control-socket app:app\n")
    assert main(["init"]) == 0
    assert "control socket" not in capsys.readouterr().out
