from __future__ import annotations

import os
from pathlib import Path

import pytest

from rainbowd.config import Account
from rainbowd.deploy.host.programs import CommandNotFound, _first_line, find_command
from rainbowd.errors import DeployFailed
from tests.accounts import needs_root

SOMEBODY = Account(12345, 12345, (), {})


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_command_is_found_on_the_path_of_the_app(tmp_path: Path) -> None:
    app = executable(tmp_path / "bin" / "app")
    assert find_command(["app"], {"PATH": f"/nowhere:{app.parent}"}, tmp_path)[0] == app


def test_relative_commands_and_paths_start_at_the_release(tmp_path: Path) -> None:
    app = executable(tmp_path / "bin" / "app")
    assert find_command(["./bin/app"], {}, tmp_path)[0] == app
    assert find_command(["app"], {"PATH": "bin"}, tmp_path)[0] == app


def test_what_may_not_be_executed_is_passed_over_as_the_kernel_does(tmp_path: Path) -> None:
    executable(tmp_path / "a" / "app").chmod(0o644)
    app = executable(tmp_path / "b" / "app")
    assert find_command(["app"], {"PATH": "a:b"}, tmp_path)[0] == app


def test_without_a_path_the_systems_own_is_searched() -> None:
    assert find_command(["sh"], {}, Path("/"))[0].name == "sh"


def test_a_command_that_is_nowhere_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(DeployFailed, match=r"^run: command not found: no-such-app; PATH is /usr/bin$"):
        find_command(["no-such-app"], {"PATH": "/usr/bin"}, tmp_path)


def test_a_file_without_its_bit_is_not_executable(tmp_path: Path) -> None:
    executable(tmp_path / "app").chmod(0o644)
    with pytest.raises(DeployFailed, match=r"^run: not executable: \./app \(chmod \+x "):
        find_command(["./app"], {}, tmp_path)


def test_a_directory_is_not_executable(tmp_path: Path) -> None:
    with pytest.raises(DeployFailed, match=r"^run: not executable: \./ \(a directory\)$"):
        find_command(["./"], {}, tmp_path)


def test_a_release_that_was_removed_is_a_directory_gone(tmp_path: Path) -> None:
    with pytest.raises(DeployFailed, match=r"^release: directory gone: .*/v1$"):
        find_command(["sh"], {"PATH": "/bin"}, tmp_path / "v1")


@pytest.mark.parametrize("first_line", ["#!/no/such/python3", "#! /no/such/python3 -u"])
def test_a_script_whose_interpreter_is_missing_is_not_found_and_says_which(tmp_path: Path, first_line: str) -> None:
    executable(tmp_path / "app", f"{first_line}\nprint()\n")
    with pytest.raises(DeployFailed, match=r"command not found: /no/such/python3 \(the interpreter of "):
        find_command(["./app"], {}, tmp_path)


@pytest.mark.parametrize("text", ["", "#!", "#!\n", "echo no first line\n", "\x7fELF"])
def test_a_file_that_names_no_interpreter_is_left_to_the_kernel(tmp_path: Path, text: str) -> None:
    app = executable(tmp_path / "app", text)
    assert find_command(["./app"], {}, tmp_path)[0] == app


def test_what_is_found_is_the_program_and_the_interpreter_of_a_script(tmp_path: Path) -> None:
    app = executable(tmp_path / "app", "#!/bin/sh -e\n")
    assert find_command(["./app"], {}, tmp_path) == (app, Path("/bin/sh"))


def test_another_key_is_named_where_its_command_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DeployFailed, match=r"^hooks\.after_live: command not found: none; PATH is /bin$"):
        find_command(["none"], {"PATH": "/bin"}, tmp_path, key="hooks.after_live")


def test_what_another_user_may_not_run_or_enter_is_said(tmp_path: Path) -> None:
    somebody = Account(12345, 12345, (), {})
    app = executable(tmp_path / "v1" / "app")
    tmp_path.chmod(0o700)
    found = f"release: user may not enter {tmp_path}/v1, as .* is closed to it"
    with pytest.raises(DeployFailed, match=found):
        find_command(["./app"], {}, tmp_path / "v1", account=somebody)
    with pytest.raises(DeployFailed, match=rf"^run: not executable by user: {app}, as "):
        find_command([str(app)], {}, Path("/"), account=somebody)


def test_the_path_that_was_searched_is_named_and_that_nothing_expands_it(tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound, match=r"PATH is /shims:\$PATH, where nothing expands \$ or ~$"):
        find_command(["python3"], {"PATH": "/shims:$PATH"}, tmp_path)


def test_words_in_one_element_of_a_list_are_said_to_be_one_word(tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound, match="a list is run without a shell"):
        find_command(["python3 app.py"], {"PATH": "/bin"}, tmp_path)


def test_a_link_to_a_python_that_is_gone_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/opt/gone/python3")
    with pytest.raises(CommandNotFound, match=r"\./python \(a link to /opt/gone/python3, which does not exist\)$"):
        find_command(["./python"], {}, tmp_path)


@pytest.mark.parametrize(
    ("first_line", "missing"),
    [("#!/bin/sh\r\n", r"/bin/sh\\r"), ("#!/usr/bin/env sh\r\n", r"sh\\r")],
)
def test_a_script_with_the_line_ends_of_windows_is_said_to_have_them(
    tmp_path: Path, first_line: str, missing: str
) -> None:
    (executable(tmp_path / "start.sh")).write_bytes(first_line.encode() + b"exec app\r\n")
    with pytest.raises(CommandNotFound, match=f"^run: command not found: {missing} .*end as on Windows"):
        find_command(["./start.sh"], {"PATH": "/bin"}, tmp_path)


def test_an_option_of_the_interpreter_is_no_part_of_its_name(tmp_path: Path) -> None:
    app = executable(tmp_path / "app", "#!  /bin/sh  -e \n")
    assert find_command(["./app"], {}, tmp_path) == (app, Path("/bin/sh"))


@pytest.mark.parametrize("first_line", ["#!{env} tool", "#!{env} -S tool -v", "#!{env} -S A=1 tool", "#!{env} -Stool"])
def test_what_env_is_to_run_is_found_too(tmp_path: Path, first_line: str) -> None:
    env = executable(tmp_path / "env", "\x7fELF")
    tool = executable(tmp_path / "bin" / "tool", "\x7fELF")
    app = executable(tmp_path / "app", first_line.format(env=env) + "\n")
    assert find_command(["./app"], {"PATH": "bin"}, tmp_path) == (app, env, tool)
    tool.unlink()
    with pytest.raises(CommandNotFound, match=r"command not found: tool \(the interpreter of .*/app\); PATH is bin$"):
        find_command(["./app"], {"PATH": "bin"}, tmp_path)


@pytest.mark.parametrize("argument", ["", "-i sh", "-S -i sh", "-S A=1", "-S 'sh"])
def test_what_only_env_knows_is_left_to_it(tmp_path: Path, argument: str) -> None:
    env = executable(tmp_path / "env", "\x7fELF")
    app = executable(tmp_path / "app", f"#!{env} {argument}\n")
    assert find_command(["./app"], {"PATH": "/nowhere"}, tmp_path) == (app, env)


def test_an_interpreter_that_is_a_script_has_one_of_its_own(tmp_path: Path) -> None:
    tool = executable(tmp_path / "tool", "#!/bin/sh\n")
    app = executable(tmp_path / "app", f"#!{tool}\n")
    assert find_command(["./app"], {}, tmp_path) == (app, tool, Path("/bin/sh"))


def test_a_script_that_is_its_own_interpreter_is_left_to_the_kernel(tmp_path: Path) -> None:
    app = executable(tmp_path / "app", f"#!{tmp_path}/app\n")
    assert set(find_command(["./app"], {}, tmp_path)) == {app}


def test_an_interpreter_that_is_not_executable_is_said_to_be_so(tmp_path: Path) -> None:
    executable(tmp_path / "tool").chmod(0o644)
    executable(tmp_path / "app", f"#!{tmp_path}/tool\n")
    with pytest.raises(DeployFailed, match=r"not executable: .*/tool \(the interpreter of .*/app\) \(chmod \+x "):
        find_command(["./app"], {}, tmp_path)


@needs_root
@pytest.mark.parametrize("command", ["venv/bin/gunicorn", "venv/bin/python"])
def test_a_python_that_is_closed_to_the_user_is_named_with_what_closes_it(open_path: Path, command: str) -> None:
    """As a virtual environment that root made, whose python is in a directory of root's."""
    home = open_path / "root"
    real = executable(home / "python3.11", "\x7fELF")
    home.chmod(0o700)
    python = open_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(real)
    executable(python.parent / "gunicorn", f"#!{python}\n")
    with pytest.raises(DeployFailed, match=rf"not executable by user: {open_path}/.*, as {home} is closed to it$"):
        find_command([command], {}, open_path, account=SOMEBODY)
    home.chmod(0o755)
    assert find_command([command], {}, open_path, account=SOMEBODY)[-1] == python


@needs_root
def test_a_link_on_the_way_to_an_interpreter_counts_too(open_path: Path) -> None:
    shut = open_path / "shut"
    shut.mkdir()
    (shut / "python").symlink_to(executable(open_path / "python3", "\x7fELF"))
    (open_path / "python").symlink_to(shut / "python")
    shut.chmod(0o700)
    with pytest.raises(DeployFailed, match=f", as {shut} is closed to it$"):
        find_command(["./python"], {}, open_path, account=SOMEBODY)


@pytest.mark.parametrize("where", ["program", "interpreter"])
def test_a_fifo_is_never_waited_for(tmp_path: Path, where: str) -> None:
    os.mkfifo(tmp_path / "fifo", 0o755)
    executable(tmp_path / "app", f"#!{tmp_path}/fifo\n")
    with pytest.raises(DeployFailed, match="not a regular file"):
        find_command(["./fifo" if where == "program" else "./app"], {}, tmp_path)


def test_a_fifo_that_took_the_place_of_a_program_is_not_waited_for(tmp_path: Path) -> None:
    """As anyone who can write to a release may exchange the two between the checks and the reading."""
    os.mkfifo(tmp_path / "fifo")
    assert _first_line(tmp_path / "fifo") == ("", "")
