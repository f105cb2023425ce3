from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.cli.detect_processes import find_processes
from rainbowd.cli.detected_app import DetectedApp

if TYPE_CHECKING:
    from pathlib import Path


def write(release: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = release / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_each_line_of_a_procfile_is_one_except_web_and_release(tmp_path: Path) -> None:
    lines = {"web": "serve", "release": "migrate", "worker": "work --fast", "clock": "tick", "celery-beat": "beat"}
    assert find_processes(tmp_path, DetectedApp(), lines) == {
        "worker": {"run": "work --fast"},
        "clock": {"run": "tick", "overlap": False},
        "celery-beat": {"run": "beat", "overlap": False},
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {
                "requirements.txt": "Celery>=5\n",
                "shop/celery.py": "app = Celery('shop')\napp.conf.beat_schedule = {}\n",
            },
            {"worker": "celery -A shop worker", "beat": "celery -A shop beat"},
        ),
        ({"requirements.txt": "celery\n", "tasks.py": "app = Celery('t')\n"}, {"worker": "celery -A tasks worker"}),
        ({"requirements.txt": "rq==2\n"}, {"worker": "rq worker"}),
        ({"requirements.txt": "django-rq\n"}, {"worker": "python manage.py rqworker"}),
        ({"pyproject.toml": '["dramatiq"]\n', "jobs.py": "@dramatiq.actor\n"}, {"worker": "dramatiq jobs"}),
        (
            {"requirements.txt": "huey\n", "jobs.py": "queue = SqliteHuey('x')\n"},
            {"worker": "huey_consumer jobs.queue"},
        ),
        ({"Gemfile": 'gem "sidekiq"\n'}, {"worker": "bundle exec sidekiq"}),
        ({"Gemfile": "gem 'good_job'\n"}, {"worker": "bundle exec good_job start"}),
        ({"Gemfile": "gem 'solid_queue'\n"}, {"worker": "bin/jobs"}),
        ({"artisan": ""}, {"worker": "php artisan queue:work"}),
        (
            {"artisan": "", "routes/console.php": "Schedule::command('x')->daily();\n"},
            {"worker": "php artisan queue:work", "scheduler": "php artisan schedule:work"},
        ),
        ({"requirements.txt": "flask\n", "app.py": "app = Flask(__name__)\n"}, {}),
    ],
)
def test_a_known_dependency_has_its_usual_process(
    tmp_path: Path, files: dict[str, str], expected: dict[str, str]
) -> None:
    write(tmp_path, files)
    found = find_processes(tmp_path, DetectedApp(), {})
    assert {name: " ".join(process["run"]) for name, process in found.items()} == expected


def test_a_scheduler_never_runs_twice(tmp_path: Path) -> None:
    write(tmp_path, {"artisan": "", "app/Console/Kernel.php": "$schedule->command('x');\n"})
    found = find_processes(tmp_path, DetectedApp(), {})
    assert {name: process.get("overlap", True) for name, process in found.items()} == {
        "worker": True,
        "scheduler": False,
    }


def test_the_programs_are_those_of_the_virtual_environment_and_the_directory_is_the_apps(tmp_path: Path) -> None:
    write(tmp_path, {"backend/requirements.txt": "rq\n"})
    app = DetectedApp(programs=".venv/bin/", directory="backend")
    assert find_processes(tmp_path, app, {}) == {"worker": {"run": "cd backend && exec .venv/bin/rq worker"}}
