"""Adds to a wheel what must be made: the man pages and, if it is requested, the compiled proxy."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUEST = "HATCH_BUILD_HOOKS_ENABLE"
COMPILER = ["mypy>=1.11", "setuptools", "httptools>=0.7", "outcome>=1.2", "pydantic>=2.8", "trio>=0.26,<0.36"]
"""The compiler, and the libraries whose types it reads."""


class Build(BuildHookInterface[Any]):
    """The hook of the wheel. An editable installation runs the source, so nothing is compiled for it."""

    def dependencies(self) -> list[str]:
        """Return what the build needs besides the dependencies in ``pyproject.toml``."""
        return COMPILER if is_requested() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files, and add them to the wheel.

        Args:
            version: ``standard`` or ``editable``.
            build_data: of hatchling; gets the files.
        """
        root = Path(self.root)
        write_man_pages = runpy.run_path(str(root / "docs" / "man" / "man_pages.py"))["write_man_pages"]
        build_data["shared_data"].update(write_man_pages(root / "build" / "man"))
        if is_requested() and version == "standard":
            check_toolchain()
            sources = sorted(path for pattern in self.config["compile"] for path in root.glob(pattern))
            build_data["force_include"].update(compile_modules(root, sources))
            build_data.update(pure_python=False, infer_tag=True)


def is_requested() -> bool:
    """Return whether the environment requests a compiled wheel; hatchling accepts the same values."""
    return os.environ.get(REQUEST) in {"1", "true"}


def check_toolchain() -> None:
    """Check that there is a C compiler, and the header that it needs.

    Raises:
        SystemExit: something is missing; the message says how to get it.
    """
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    header = Path(sysconfig.get_path("include")) / "Python.h"
    for is_found, what in ((shutil.which(compiler), f"the C compiler {compiler}"), (header.is_file(), str(header))):
        if not is_found:
            raise SystemExit(
                f"cannot compile rainbowd: {what} is not installed. On Debian and Ubuntu run "
                f"`apt install gcc libc6-dev python3-dev`, or unset {REQUEST} to install the pure version."
            )


def compile_modules(root: Path, sources: list[Path]) -> dict[str, str]:
    """Compile modules with mypyc, and return the places of the libraries in the wheel by their paths.

    Nothing is written next to the sources, because a library there would be imported in their place.

    Args:
        root: the directory of the project; also the working directory.
        sources: the modules.

    Raises:
        SystemExit: mypyc finds an error, which it prints, or the C compiler fails.
    """
    from mypyc.build import mypycify  # noqa: PLC0415 - only installed for this
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.errors import CompileError  # noqa: PLC0415

    made = root / "build" / "mypyc"
    shutil.rmtree(made, ignore_errors=True)
    (made / "c").mkdir(parents=True)
    modules = mypycify(
        [f"--cache-dir={made / 'cache'}", *(str(path.relative_to(root)) for path in sources)],
        opt_level="2",
        debug_level="0",
        target_dir=str(made / "c"),
    )
    command = Distribution({"name": "rainbowd", "ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(made / "lib"), str(made / "objects")
    command.ensure_finalized()
    try:
        command.run()
    except CompileError as error:
        raise SystemExit(f"cannot compile rainbowd: {error}; the compiler's messages are above") from None
    return {str(path): str(path.relative_to(made / "lib")) for path in (made / "lib").rglob("*.so")}
