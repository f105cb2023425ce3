"""Ruby, PHP, Perl, Go, Java and Elixir apps, executables, and static files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from rainbowd.cli.detected_app import DetectedApp
from rainbowd.cli.health_guess import of_rails
from rainbowd.cli.source_files import read_source

if TYPE_CHECKING:
    from pathlib import Path


def find_rack(release: Path) -> DetectedApp | None:
    """Return the Rails app or other Rack app of the release; None without a config.ru."""
    if not (release / "config.ru").is_file():
        return None
    gems = read_source(release / "Gemfile") + read_source(release / "Gemfile.lock")
    names = ("puma", "unicorn", "thin", "webrick")
    server = next((name for name in names if re.search(rf"\b{name}\b", gems)), "puma")
    is_rails = (release / "config" / "application.rb").is_file()
    found = DetectedApp(["Rails" if is_rails else "Rack"], server, {"rack": "config.ru"})
    found.env = {"RAILS_ENV" if is_rails else "RACK_ENV": "production"}
    if is_rails:
        found.health = of_rails(release)
    if (release / "Gemfile").is_file():
        found.prefix = ("bundle", "exec")
    return found


def find_ruby(release: Path) -> DetectedApp | None:
    """Return a Ruby program that takes its port as its first argument; None if there is none."""
    main = next((name for name in ("server.rb", "app.rb") if "ARGV" in read_source(release / name)), None)
    return DetectedApp([f"a program, {main}"], "ruby", {"ruby": main}) if main else None


def find_php(release: Path) -> DetectedApp | None:
    """Return the PHP app whose front controller is an index.php; None if there is none."""
    if (release / "public" / "index.php").is_file():
        return DetectedApp(["PHP, public/index.php"], "php-root", {"php root": "public", "php": "public/index.php"})
    if (release / "index.php").is_file():
        return DetectedApp(["PHP, index.php"], "php", {"php": "index.php", "php root": "."})
    return None


def find_perl(release: Path) -> DetectedApp | None:
    """Return the app of a PSGI file, such as Dancer2's, or of a Mojolicious program; None if there is none."""
    for name in ("app.psgi", "bin/app.psgi"):
        if (release / name).is_file():
            manifests = (read_source(release / file) for file in ("cpanfile", "cpanfile.snapshot", "Makefile.PL"))
            server = "starman" if any("Starman" in text for text in manifests) else "plackup"
            return DetectedApp([f"PSGI, {name}"], server, {"psgi": name})
    for file in sorted([*release.glob("*.pl"), *release.glob("script/*")]):
        if re.search(r"^use Mojolicious::(?:Lite|Commands)\b|Mojolicious::Commands->", read_source(file), re.MULTILINE):
            program = str(file.relative_to(release))
            return DetectedApp([f"Mojolicious, {program}"], "mojolicious", {"mojolicious": program})
    return None


def find_go(release: Path) -> DetectedApp | None:
    """Return the program of a Go module, which a hook builds unless the executable exists; None if there is none."""
    module = re.search(r"^module\s+(\S+)", read_source(release / "go.mod"), re.MULTILINE)
    if module is None:
        return None
    commands = [release, *sorted((release / "cmd").glob("*")), release / "server"]
    main = next(
        (path for path in commands if any("\nfunc main()" in read_source(file) for file in path.glob("*.go"))), None
    )
    if main is None:
        return None
    name = re.sub(r"/v\d+$", "", module[1]).rpartition("/")[2] if main == release else main.name
    built = next((f"./{path}" for path in (name, f"bin/{name}") if os.access(release / path, os.X_OK)), "")
    package = "." if main == release else f"./{main.relative_to(release)}"
    source = "\n".join(read_source(file) for file in sorted(main.glob("*.go")))
    found = DetectedApp([f"Go, module {module[1]}"], _flags_of(source), {"program": built or f"./bin/{name}"})
    if not built:
        found.hook = f"go build -o bin/{name} {package}"
    return found


def _flags_of(source: str) -> str:
    """Return the recipe that passes a Go program its address in the way that its flags expect."""
    if re.search(r"flag\.String(?:Var)?\((?:&\w+, )?\"addr\"", source):
        return "program-addr"
    return "program-port" if re.search(r"flag\.(?:Int|String)(?:Var)?\((?:&\w+, )?\"port\"", source) else "program"


def find_java(release: Path) -> DetectedApp | None:
    """Return the app of a jar, or of a program in one source file; None if there is neither."""
    jars = [file for place in ("", "target/", "build/libs/") for file in sorted(release.glob(f"{place}*.jar"))]
    jar = next((file for file in jars if not re.search(r"-(?:plain|sources|javadoc|tests)\.jar$", file.name)), None)
    if jar is not None:
        name = str(jar.relative_to(release))
        return DetectedApp([f"Java, {name}"], "jar", {"jar": name})
    main = next((file for file in sorted(release.glob("*.java")) if "void main(" in read_source(file)), None)
    return DetectedApp([f"Java, {main.name}"], "java", {"java": main.name}) if main else None


def find_elixir(release: Path) -> DetectedApp | None:
    """Return a mix project, which is built as a mix release, or a script that installs its dependencies; else None."""
    name = re.search(r"\bapp:\s*:(\w+)", read_source(release / "mix.exs"))
    if name is not None:
        program = f"_build/prod/rel/{name[1]}/bin/{name[1]}"
        found = DetectedApp([f"Elixir, app {name[1]}"], "mix-release", {"mix release": program})
        if not (release / program).is_file():
            found.hook = "MIX_ENV=prod mix do deps.get --only prod + release --overwrite"
        return found
    scripts = (file for file in sorted(release.glob("*.exs")) if "Mix.install(" in read_source(file))
    script = next(scripts, None)
    return DetectedApp([f"Elixir, {script.name}"], "elixir", {"elixir": script.name}) if script else None


def find_executable(release: Path) -> DetectedApp | None:
    """Return the executable of a release that contains exactly one; None if it contains none or several."""
    places = [*sorted(release.glob("*")), *sorted(release.glob("bin/*"))]
    programs = [file for file in places if file.is_file() and os.access(file, os.X_OK) and _is_elf(file)]
    if len(programs) != 1:
        return None
    name = str(programs[0].relative_to(release))
    return DetectedApp([f"an executable, {name}"], "program", {"program": f"./{name}"})


def _is_elf(file: Path) -> bool:
    return read_source(file).startswith("\x7fELF")


def find_static(release: Path) -> DetectedApp | None:
    """Return the app that serves static files; None without an index.html."""
    is_there = (release / "index.html").is_file()
    return DetectedApp(["static files"], "busybox", {"directory": "."}, health="/index.html") if is_there else None
