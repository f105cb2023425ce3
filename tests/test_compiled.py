"""Which code runs: the compiled modules of an installed wheel, or the source."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import tomllib
from pathlib import Path

import pytest

from rainbowd import __version__, compiled
from rainbowd.cli import parser
from rainbowd.proxy import exchange

ROOT = Path(__file__).parents[1]
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]

MUST_BE_COMPILED = "RAINBOWD_MUST_BE_COMPILED"
"""Is set by ``.ci/run`` for the tests of the compiled wheel."""


def test_it_is_known_which_code_runs() -> None:
    assert compiled.is_compiled() == (not str(exchange.__file__).endswith(".py"))


@pytest.mark.skipif(MUST_BE_COMPILED not in os.environ, reason="is about the compiled wheel")
def test_every_module_of_the_list_runs_compiled_from_the_installed_wheel() -> None:
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    package = Path(compiled.__file__).parent
    assert package.is_relative_to(sys.prefix)
    paths = [path for pattern in hooks["custom"]["compile"] for path in package.parent.glob(pattern)]
    assert len(paths) >= len(hooks["custom"]["compile"])
    for path in paths:
        module = importlib.import_module(".".join(path.relative_to(package.parent).with_suffix("").parts))
        assert module.__file__ == f"{path.with_suffix('')}{SUFFIX}"


@pytest.mark.parametrize(("name", "addition"), [(f"exchange{SUFFIX}", " (compiled)"), ("exchange.py", "")])
def test_the_version_says_whether_the_proxy_is_compiled(
    name: str, addition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).touch()
    monkeypatch.setattr(compiled, "_MODULE", tmp_path / "exchange")
    with pytest.raises(SystemExit):
        parser.make_parser().parse_args(["--version"])
    assert capsys.readouterr().out == f"rainbowd {__version__}{addition}\n"
