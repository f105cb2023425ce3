"""The detection of an app's companion processes: workers and schedulers, from a Procfile or from its dependencies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rainbowd.cli.source_files import files_near_top, read_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rainbowd.cli.detected_app import DetectedApp

    Processes = dict[str, dict[str, Any]]

OTHER_LINES = ("web", "release")
"""The lines of a Procfile that are no companion processes."""

_SCHEDULER = re.compile(r"clock|beat|cron|sched", re.IGNORECASE)
_CELERY_APP = re.compile(r"^\w+\s*=\s*(?:celery\.)?Celery\(", re.MULTILINE)
_HUEY = re.compile(r"^(\w+)\s*=\s*(?:\w+\.)?\w*Huey\(", re.MULTILINE)
_DRAMATIQ = re.compile(r"^@(?:dramatiq\.)?actor\b", re.MULTILINE)

_PYTHON_FILES = ("requirements.txt", "pyproject.toml", "Pipfile", "setup.py", "setup.cfg")


def find_processes(release: Path, found: DetectedApp, procfile: Mapping[str, str]) -> Processes:
    """Return the companion processes of an app, as the config has them, by name.

    Args:
        release: the directory of the release.
        found: the app.
        procfile: the lines of its Procfile, by name.
    """
    named = {name: command for name, command in procfile.items() if name not in OTHER_LINES}
    if named:
        return {
            name: _process(command, is_single=_SCHEDULER.search(name) is not None) for name, command in named.items()
        }
    place = release / found.directory
    processes = {name: _process(run, is_single=is_single) for name, run, is_single in _known(place, found)}
    for process in processes.values() if found.directory else ():
        process["run"] = f"cd {found.directory} && exec {' '.join(process['run'])}"
    return processes


def _process(run: str | list[str], *, is_single: bool) -> dict[str, Any]:
    return {"run": run, **({"overlap": False} if is_single else {})}


class _Known(NamedTuple):
    """A companion process that a dependency is for; ``is_single`` if two must not run at once."""

    name: str
    run: list[str]
    is_single: bool = False


def _known(place: Path, found: DetectedApp) -> Iterator[_Known]:
    yield from _python(place, found)
    yield from _ruby(place)
    yield from _laravel(place)


def _python(place: Path, found: DetectedApp) -> Iterator[_Known]:
    needs = "\n".join(read_source(place / name) for name in _PYTHON_FILES).lower()
    prefix, programs = list(found.prefix), found.programs

    def command(program: str, *arguments: str) -> list[str]:
        return [*prefix, programs + program, *arguments]

    if "celery" in needs and (app := _module(place, _CELERY_APP)):
        yield _Known("worker", command("celery", "-A", app, "worker"))
        if "beat_schedule" in _sources(place) or "django-celery-beat" in needs:
            yield _Known("beat", command("celery", "-A", app, "beat"), is_single=True)
    elif "django-rq" in needs:
        yield _Known("worker", command("python", "manage.py", "rqworker"))
    elif re.search(r"\brq\b", needs):
        yield _Known("worker", command("rq", "worker"))
    elif "dramatiq" in needs and (module := _module(place, _DRAMATIQ)):
        yield _Known("worker", command("dramatiq", module))
    elif "huey" in needs:
        if "huey.contrib.djhuey" in _sources(place):
            yield _Known("worker", command("python", "manage.py", "run_huey"), is_single=True)
        elif (module := _module(place, _HUEY)) and (name := _HUEY.search(_source_of(place, module))):
            yield _Known("worker", command("huey_consumer", f"{module}.{name[1]}"), is_single=True)


def _ruby(place: Path) -> Iterator[_Known]:
    gems = read_source(place / "Gemfile")
    if re.search(r"""['"]sidekiq['"]""", gems):
        yield _Known("worker", ["bundle", "exec", "sidekiq"])
    elif re.search(r"""['"]good_job['"]""", gems):
        yield _Known("worker", ["bundle", "exec", "good_job", "start"])
    elif re.search(r"""['"]solid_queue['"]""", gems):
        yield _Known("worker", ["bin/jobs"])


def _laravel(place: Path) -> Iterator[_Known]:
    if not (place / "artisan").is_file():
        return
    yield _Known("worker", ["php", "artisan", "queue:work"])
    if re.search(r"\bSchedule::|\$schedule->", _sources(place, "routes/console.php", "app/Console/Kernel.php")):
        yield _Known("scheduler", ["php", "artisan", "schedule:work"], is_single=True)


def _sources(place: Path, *names: str) -> str:
    files = [place / name for name in names] if names else files_near_top(place, "*.py")
    return "\n".join(read_source(file) for file in files)


def _module(place: Path, pattern: re.Pattern[str]) -> str | None:
    """Return the module of the first Python file that ``pattern`` matches."""
    for file in files_near_top(place, "*.py"):
        if pattern.search(read_source(file)):
            *parents, name = file.relative_to(place).with_suffix("").parts
            is_package = name in {"__init__", "celery"} and parents  # celery finds APP.celery by itself
            return ".".join(parents if is_package else [*parents, name])
    return None


def _source_of(place: Path, module: str) -> str:
    path = place.joinpath(*module.split("."))
    return read_source(path.with_suffix(".py")) or read_source(path / "__init__.py")
