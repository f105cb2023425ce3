from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rainbowd.cli import main
from rainbowd.report.lock import Lock
from rainbowd.report.state_dir import prepare
from tests.accounts import USER, needs_root, uid

ROOT = Path(__file__).parents[2]

Outcome = tuple[int, str, str]
Checked = Callable[..., Outcome]


@pytest.fixture
def checked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Checked:
    """What ``rainbowd check`` says of an app in ``v1`` with the given keys: exit status, stdout, stderr."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")

    def outcome(*options: str, **keys: object) -> Outcome:
        file = tmp_path / "rainbowd.json"
        file.write_text(json.dumps({"run": ["true", "{port}"], "health": "/", "release": "current", **keys}))
        status = main(["check", *options, "--config", str(file)])
        out, err = capfd.readouterr()
        return status, out, err

    return outcome


@contextlib.contextmanager
def two_ports_in_a_row() -> Iterator[int]:
    """Two ports on which something listens; the first of them."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one, contextlib.suppress(OSError, OverflowError):
            first = one.getsockname()[1]
            with socket.create_server(("127.0.0.1", first + 1)):
                yield first
                return


def program(path: Path, *, mode: int = 0o755) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)


def test_a_directory_without_error_pages_is_a_warning(tmp_path: Path, checked: Checked) -> None:
    (tmp_path / "errors").mkdir()
    status, _, err = checked(error_pages="errors")
    assert status == 0
    assert f"error_pages: found none of 502.html, 503.html, 504.html in {tmp_path}/errors; expected at least one" in err
    (tmp_path / "errors" / "503.html").write_text("<h1>Sorry</h1>")
    assert "error_pages" not in checked(error_pages="errors")[2]


def test_the_verdict_on_a_good_config_comes_first_and_then_what_would_run(tmp_path: Path, checked: Checked) -> None:
    status, out, err = checked(env={"KEY": "hush"})
    assert status == 0
    assert out.startswith(f"{tmp_path}/rainbowd.json is good: no problems found")
    assert "run, as " in out
    assert ": true '{port}'\n" in out
    assert f"release: {tmp_path.resolve()}/v1\n" in out
    assert f"by switching the symlink {tmp_path}/current: " in out
    assert f"by putting redeploy.trigger into {tmp_path}: " in out
    assert "hush" not in out + err
    assert "found" not in err
    assert "drain" not in out


def test_the_effective_config_is_printed_on_request_without_secrets(checked: Checked) -> None:
    status, out, _ = checked("--verbose", env={"KEY": "hush"})
    shown = json.loads(out[out.index("\n{") :])
    assert (status, shown["env"], shown["drain"]["signal"]) == (0, {"KEY": "***"}, "TERM")


def test_the_verdict_on_a_bad_config_counts_and_what_would_run_follows(tmp_path: Path, checked: Checked) -> None:
    status, out, err = checked(run=["./none", "{port}"], hooks={"after_live": ["./gone"]})
    assert status == 2
    assert out.startswith(f"{tmp_path}/rainbowd.json: 2 problems, ")
    assert "release: " in out
    assert len([line for line in err.splitlines() if "warning" not in line]) == 2


def test_a_broken_config_is_refused_with_every_problem_and_nothing_on_stdout(checked: Checked) -> None:
    status, out, err = checked(ports=5, helth="/")
    assert (status, out) == (2, "")
    assert "ports: found 5" in err
    assert 'did you mean "health"?' in err


@pytest.mark.parametrize("words", [["check"], ["deploy", "v2"]], ids=str)
def test_without_a_config_a_command_names_the_directory_and_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    err = capfd.readouterr().err
    assert str(tmp_path) in err
    assert "`rainbowd init` writes one" in err


def test_the_warnings_of_an_old_file_are_on_stderr(checked: Checked) -> None:
    status, _, err = checked(health=None, warmupTime=5, run="true")
    assert (status, "warmupTime: is an old name" in err) == (0, True)


@pytest.mark.parametrize(
    "run",
    [
        ["no-such-command"],
        ["./missing"],
        ["{release}/missing"],
        "no-such-command {port}",
        "exec no-such-command",
        "A=1 B=2 exec no-such-command $PORT",
        "./missing; true",
    ],
)
def test_a_missing_command_is_an_error(checked: Checked, run: object) -> None:
    status, _, err = checked(run=run)
    assert status == 2
    assert "run: " in err
    assert "not found" in err


@pytest.mark.parametrize("run", [["./plain"], "./plain"])
def test_a_command_that_is_not_executable_is_an_error(tmp_path: Path, checked: Checked, run: object) -> None:
    program(tmp_path / "v1/plain", mode=0o644)
    status, _, err = checked(run=run)
    assert (status, "run: " in err) == (2, True)


@pytest.mark.parametrize(
    "run",
    [
        ["./here"],
        ["{release}/here"],
        "./here {port}",
        "exec ./here",
        "cd . && ./here",
        "if true; then ./here; fi",
        '"./here"',
        "(./here)",
        "$HOME/none",
    ],
)
def test_an_existing_command_or_a_shell_builtin_is_not_an_error(tmp_path: Path, checked: Checked, run: object) -> None:
    program(tmp_path / "v1/here")
    assert checked(run=run)[0] == 0


@pytest.mark.parametrize("run", [["mine"], "mine {port}"])
def test_a_command_is_searched_in_the_path_of_the_app(tmp_path: Path, checked: Checked, run: object) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/mine")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    assert checked(run=run)[0] == 2
    assert checked(run=run, env={"PATH": path})[0] == 0
    (tmp_path / "app.env").write_text(f"PATH={path}\n")
    assert checked(run=run, env_file="app.env")[0] == 0


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("gone", "a dangling link to gone"),
        ("current", "a dangling link to current"),
        ("rainbowd.json", "not a directory"),
    ],
)
def test_a_link_that_leads_to_no_directory_is_an_error(
    tmp_path: Path, checked: Checked, target: str, found: str
) -> None:
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(target)
    status, _, err = checked()
    assert status == 2
    assert "release: found" in err
    assert found in err


def test_a_missing_release_is_an_error(tmp_path: Path, checked: Checked) -> None:
    status, _, err = checked(release="missing")
    assert status == 2
    assert f"release: found no directory {tmp_path}/missing (No such file or directory); expected" in err
    assert "before the first deploy this is normal: rainbowd starts, and waits for a release" in err
    assert "before the first deploy" not in checked(release="no/where")[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter everything")
def test_a_release_that_may_not_be_entered_is_an_error(tmp_path: Path, checked: Checked) -> None:
    (tmp_path / "v1").chmod(0o600)
    status, _, err = checked()
    assert (status, "which this user may not enter" in err) == (2, True)


def test_a_range_of_ports_that_is_taken_is_an_error_unless_no_port_is_needed(checked: Checked) -> None:
    with two_ports_in_a_row() as first:
        ports = f"{first}-{first + 1}"
        status, _, err = checked(ports=ports)
        assert status == 2
        assert "ports: " in err
        assert checked(ports=ports, run=["true", "{socket}"])[0] == 0


def test_a_socket_path_that_is_too_long_for_unix_is_an_error(checked: Checked) -> None:
    directory = "/run/" + "x" * (107 - len("/run//generation-99999/sock"))
    assert checked(run=["true", "{socket}"], state_dir=directory)[0] == 0
    status, _, err = checked(run=["true", "{socket}"], state_dir=f"{directory}x")
    assert status == 2
    assert "state_dir: found a socket path of 108 bytes" in err
    assert checked(run=["true", "{port}"], state_dir=f"{directory}x")[0] == 0


@pytest.mark.parametrize("state_dir", ["rainbowd.json", "rainbowd.json/state", "dangling"])
def test_a_state_directory_that_cannot_be_made_is_an_error(tmp_path: Path, checked: Checked, state_dir: str) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    status, _, err = checked(state_dir=state_dir)
    assert (status, "which is not a directory" in err) == (2, True)
    assert checked(state_dir="not/yet/there")[0] == 0


def test_an_env_file_that_cannot_be_used_is_an_error(tmp_path: Path, checked: Checked) -> None:
    status, _, err = checked(env_file="missing.env")
    assert (status, "missing.env: cannot be read" in err or "missing.env: cannot be looked at" in err) == (
        2,
        True,
    )
    (tmp_path / "bad.env").write_text("A=1\nhush\n\n\nhush")
    status, _, err = checked(env_file="bad.env")
    assert status == 2
    assert "line 2:" in err
    assert "line 5:" in err
    assert "hush" not in err


def test_every_problem_is_reported_at_once(checked: Checked) -> None:
    status, _, err = checked(env_file="missing.env", release="missing", run="a {socket}", state_dir="/" + "x" * 99)
    assert status == 2
    assert all(f"{key}: " in err for key in ("env_file", "release", "state_dir"))


def test_doors_that_are_open_to_everybody_are_warned_of(tmp_path: Path, checked: Checked) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    status, out, err = checked(trigger_file="shared/trigger")
    assert status == 0
    assert f"by putting trigger into {tmp_path}/shared: everybody\n" in out
    assert "everybody can deploy" in err


def test_a_state_directory_inside_the_release_is_warned_of(checked: Checked) -> None:
    assert "state_dir: " not in checked()[2]
    status, _, err = checked(release="v1", state_dir="v1/.rainbowd")
    assert (status, "is inside the release" in err) == (0, True)


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("state_dir", {"state_dir": "current/.rainbowd"}),
        ("state_dir", {"state_dir": "v1/.rainbowd"}),
        ("trigger_file", {"trigger_file": "current/tmp/restart.txt"}),
        ("maintenance.file", {"maintenance": {"file": "current/maintenance.html"}}),
        ("pause_file", {"pause_file": "v1/pause"}),
        ("log.app", {"log": {"app": "current/log/app.log"}}),
        ("api.token_file", {"api": {"token_file": "current/token"}}),
    ],
)
def test_a_file_of_the_agents_own_that_moves_with_the_link_is_an_error(
    checked: Checked, key: str, config: dict[str, object]
) -> None:
    status, _, err = checked(**config)
    assert (status, f"{key}: found " in err, "so each deploy moves it" in err) == (2, True, True), err


@needs_root
def test_for_root_a_config_or_env_file_of_somebody_elses_is_an_error(tmp_path: Path, checked: Checked) -> None:
    env_file = tmp_path / "app.env"
    env_file.touch(mode=0o600)
    assert checked(env_file="app.env")[0] == 0
    os.chown(env_file, 1, 1)
    status, _, err = checked(env_file="app.env")
    assert (status, "env_file: " in err, "only root may write" in err) == (2, True, True)
    os.chown(tmp_path / "rainbowd.json", 1, 1)
    status, out, err = checked()
    assert (status, out) == (2, "")
    assert "only root may write" in err


@needs_root
def test_for_root_a_config_of_somebody_elses_names_the_command_that_checks_it_for_them(
    tmp_path: Path, checked: Checked
) -> None:
    file = tmp_path / "rainbowd.json"
    checked(run="true", warmup=0)
    os.chown(file, uid(), -1)
    status, output, errors = checked(run="true", warmup=0)
    assert (status, output) == (2, "")
    assert f"`runuser -u {USER} -- rainbowd check --config {file}`" in errors
    os.chown(file, 0, -1)
    assert "runuser" not in checked(run=7)[2]


def test_checking_leaves_no_trace(tmp_path: Path, checked: Checked) -> None:
    checked()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["current", "rainbowd.json", "v1"]


def test_hooks_are_shown_with_whose_they_are(checked: Checked) -> None:
    hooks = {"before_launch": ["true", "a b"], "after_live": "true; echo {release}"}
    status, out, err = checked(hooks=hooks)
    assert (status, "hooks." in err) == (0, False)
    whose = pwd.getpwuid(os.geteuid()).pw_name
    assert f"hooks, as {whose}:\n  before_launch: true 'a b'\n  after_live: true; echo {{release}}\n" in out
    assert "hooks, as" not in checked()[1]


@pytest.mark.parametrize("hook", ["before_launch", "after_live", "after_failure"])
@pytest.mark.parametrize("command", [["no-such-command"], "no-such-command --now", ["./plain"]])
def test_a_hook_that_cannot_be_run_is_an_error(tmp_path: Path, checked: Checked, hook: str, command: object) -> None:
    program(tmp_path / "v1/plain", mode=0o644)
    status, _, err = checked(hooks={hook: command})
    assert status == 2
    assert f"hooks.{hook}: " in err


def test_hooks_are_searched_in_the_release_where_they_run(tmp_path: Path, checked: Checked) -> None:
    program(tmp_path / "v1/migrate")
    hooks = {"before_launch": ["./migrate"], "after_live": ["{release}/migrate"], "after_failure": "./migrate; true"}
    assert checked(hooks=hooks)[0] == 0


@needs_root
def test_for_root_a_hook_that_others_may_write_is_an_error(tmp_path: Path, checked: Checked) -> None:
    program(tmp_path / "v1/migrate", mode=0o757)
    status, _, err = checked(hooks={"after_live": ["./migrate"]})
    assert status == 2
    assert f"hooks.after_live: {tmp_path}/v1/migrate: found a file that may be written by everybody" in err


@needs_root
def test_another_user_is_judged_by_what_that_user_may_do(open_path: Path, checked: Checked) -> None:
    program(open_path / "app", mode=0o700)
    command = [str(open_path / "app"), "{port}"]
    keys = {"release": str(open_path), "state_dir": "/run/x", "user": USER, "hooks": {"before_launch": command}}
    status, out, err = checked(run=command, **keys)
    assert (status, f"hooks, as {USER}:" in out) == (2, True)
    assert f": run: not executable by user: {open_path}/app\n" in err
    assert f": hooks.before_launch: not executable by user: {open_path}/app\n" in err
    (open_path / "app").chmod(0o755)
    status, _, err = checked(run=command, **keys)
    assert (status, "the app runs as root" in err) == (0, False)


@needs_root
def test_a_socket_that_another_user_could_not_make_is_an_error(open_path: Path, checked: Checked) -> None:
    (open_path / "shut").mkdir(0o700)
    keys = {"release": str(open_path), "run": ["true", "{socket}"], "user": USER}
    assert checked(**keys, state_dir=str(open_path / "state"))[0] == 0
    status, _, err = checked(**keys, state_dir=str(open_path / "shut/state"))
    assert status == 2
    assert f": state_dir: user may not enter {open_path}/shut\n" in err


def test_an_unknown_user_is_an_error(checked: Checked) -> None:
    status, out, err = checked(user="no-such-user")
    assert (status, out) == (2, "")
    assert 'user: found "no-such-user"; expected a user of this machine' in err


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (["true", "$PORT"], "run[1]: found $PORT, which only a shell expands; expected {port}, or one string"),
        (["true", "--bind=127.0.0.1:${PORT}"], "run[1]: found $PORT, which only a shell expands; expected {port}"),
        (["true", "$1", "$2"], "run[2]: found $2, which only a shell expands; expected {pidfile}"),
        (["true", "unix:$SOCKET"], "run[1]: found $SOCKET, which only a shell expands; expected {socket}"),
        (["true", "{PORT}"], "run[1]: found {PORT}, which is not a placeholder; expected {port}"),
        (["true", "{prot}"], "run[1]: found {prot}, which is not a placeholder; expected {port}"),
        (["true", "{ports}"], "run[1]: found {ports}, which is not a placeholder; expected {port}"),
        (["true", "{sockt}"], "run[1]: found {sockt}, which is not a placeholder; expected {socket}"),
        ("true {prot}", "run: found {prot}, which is not a placeholder; expected {port}"),
        (["true", "", "{port}"], "run[1]: found an empty element after 'true'; expected a word"),
        (["true x {port}"], "a list is run without a shell: write each word as an element of its own, or one string"),
    ],
)
def test_a_misspelt_placeholder_or_variable_is_an_error(checked: Checked, run: object, problem: str) -> None:
    status, _, err = checked(run=run)
    assert status == 2
    assert problem in err


@pytest.mark.parametrize(
    "run",
    [
        ["sh", "-c", "true $PORT"],
        ["sh", "-ec", "true $PORT ${PIDFILE}"],
        ["true", "--prefix", "", "{port}"],
        ["true", "{port}", "{name}", "{sort}", "{}", '{"a": 1}', "${port}"],
        "true ${port} $1 ${PORT} $HOME",
    ],
)
def test_other_braces_and_shell_variables_are_not_errors(checked: Checked, run: object) -> None:
    status, _, err = checked(run=run)
    assert (status, "found" in err) == (0, False)


def test_hooks_are_judged_by_their_words_too(checked: Checked) -> None:
    status, _, err = checked(hooks={"after_live": ["true", "{relase}"]})
    assert status == 2
    assert "hooks.after_live[1]: found {relase}, which is not a placeholder; expected {release}" in err


@pytest.mark.parametrize(
    "run",
    [
        ["true", "app.py", "8000"],
        ["true", "--port=8000"],
        ["true", "--port", "8000"],
        ["true", "-p", "8000"],
        ["true", "--bind", "0.0.0.0:8000"],
        ["true", "--bind=:8000"],
    ],
)
def test_a_fixed_port_in_a_list_is_an_error(checked: Checked, run: object) -> None:
    status, _, err = checked(run=run)
    assert (status, "run: found the fixed port 8000; expected {port}" in err) == (2, True)
    assert checked(run=run, env={"SERVER_PORT": "{port}"})[0] == 0


@pytest.mark.parametrize("words", [["--max-requests", "5000"], ["db.example:5432"], ["v", "2024a"], ["--size=8192"]])
def test_other_numbers_are_not_ports(checked: Checked, words: list[str]) -> None:
    assert checked(run=["true", *words])[0] == 0


@pytest.mark.parametrize(
    ("run", "is_noted"), [(["true"], True), ("true", True), ("true $PORT", False), ("true $1", False)]
)
def test_a_command_without_a_port_is_noted(checked: Checked, run: object, is_noted: bool) -> None:
    status, out, err = checked(run=run)
    assert (status, "note: run: has no {port}; the app must listen on the port in the variable PORT" in out) == (
        0,
        is_noted,
    )
    assert "{port}" not in err


def test_a_port_next_to_a_socket_is_warned_of(checked: Checked) -> None:
    assert "run: has {socket}, so that there is no port" in checked(run=["true", "{socket}", "{port}"])[2]


def test_an_unexpanded_variable_in_the_environment_is_a_warning_without_its_value(
    tmp_path: Path, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN", "x")
    (tmp_path / "app.env").write_text("A=hush$GIVEN\nB=hush$5\nC='{port}'\nD=hush # why\nPIDFILE=x\n")
    env = {"X": "$PORT", "Y": "hush{prot}", "Z": "hush$unknown", "PATH": f"{os.environ['PATH']}:$PATH:~/bin"}
    status, out, err = checked(env=env, env_file="app.env")
    assert status == 0
    for warning in (
        "env.X: has $PORT, and nothing expands it; expected {port}",
        "env.Y: found {prot}, which is not a placeholder; expected {port}",
        "env.PATH: has $PATH, and nothing expands it; expected the whole value",
        "env.PATH: has a ~, and nothing expands it",
        "env_file: A: has $GIVEN, and nothing expands it",
        "env_file: C: has {port}, which is filled in only in env",
        "line 4: the value of D includes the #",
    ):
        assert warning in err
    assert "env_file: PIDFILE has no effect, because rainbowd sets it" in out
    assert "hush" not in out + err
    assert " B: " not in err
    assert "env.Z" not in err


@pytest.mark.parametrize("run", [[".venv/bin/app", "{port}"], ".venv/bin/app {port}", ["app", "{port}"]])
def test_a_command_that_a_hook_makes_is_a_note(checked: Checked, run: object) -> None:
    env = {"PATH": f"{{release}}/.venv/bin:{os.environ['PATH']}"}
    hooks = {"before_launch": "true; python3 -m venv .venv"}
    status, out, _ = checked(run=run, env=env, hooks=hooks)
    assert status == 0
    assert "app" in out
    assert "; hooks.before_launch may make it\n" in out
    assert checked(run=run, env=env)[0] == 2
    assert checked(run=["/no/such/app"], hooks=hooks)[0] == 2


def test_the_interpreter_of_a_script_that_a_hook_makes_is_a_note_too(tmp_path: Path, checked: Checked) -> None:
    (tmp_path / "v1/app").write_text(f"#!{tmp_path}/current/.venv/bin/python\n")
    (tmp_path / "v1/app").chmod(0o755)
    assert checked(run=["./app", "{port}"])[0] == 2
    assert checked(run=["./app", "{port}"], hooks={"before_launch": "true"})[0] == 0


def test_an_interpreter_in_another_release_is_warned_of(tmp_path: Path, checked: Checked) -> None:
    for release in ("v0", "v1"):
        (tmp_path / release / ".venv/bin").mkdir(parents=True)
        program(tmp_path / release / ".venv/bin/python")
    (tmp_path / "v1/.venv/bin/app").write_text(f"#!{tmp_path}/v0/.venv/bin/python\n")
    (tmp_path / "v1/.venv/bin/app").chmod(0o755)
    status, _, err = checked(run=[".venv/bin/app", "{port}"])
    assert (status, "which belongs to the release v0: it stops working" in err) == (0, True)
    (tmp_path / "v1/.venv/bin/app").write_text(f"#!{tmp_path}/v1/.venv/bin/python\n")
    assert "which belongs to" not in checked(run=[".venv/bin/app", "{port}"])[2]


def test_an_interpreter_next_to_the_releases_is_not_a_release(tmp_path: Path, checked: Checked) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    program(tmp_path / "venv/bin/python")
    (tmp_path / "v1/app").write_text(f"#!{tmp_path}/venv/bin/python\n")
    (tmp_path / "v1/app").chmod(0o755)
    assert "which belongs to" not in checked(run=["./app", "{port}"])[2]


def test_a_release_that_is_not_a_symlink_is_noted(checked: Checked) -> None:
    assert "note: release: is not a symlink" not in checked()[1]
    assert "note: release: is not a symlink" in checked(release="v1")[1]


# --- start checks ---------------------------------------------------------------------------------------------------


def test_an_address_that_another_program_has_is_an_error(checked: Checked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, err = checked(listen=address)
        assert status == 2
        assert f"listen: cannot listen on {address}: another program listens there already" in err
        assert checked(api={"listen": address})[0] == 0
    assert checked(listen=address)[0] == 0


def test_an_address_of_another_machine_is_an_error(checked: Checked) -> None:
    status, _, err = checked(listen="192.0.2.7:7000")
    assert (status, "listen: cannot listen on 192.0.2.7:7000: this machine has no such address" in err) == (2, True)


def test_a_port_that_a_connection_has_is_a_warning(checked: Checked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        status, _, err = checked(listen=f"127.0.0.1:{client.getsockname()[1]}")
    assert status == 0
    assert "no program listens there, but a connection uses this port as its local port" in err


def test_a_unix_socket_that_cannot_be_made_is_an_error(tmp_path: Path, checked: Checked) -> None:
    assert checked(listen="unix:sock")[0] == 0
    assert f"found no directory {tmp_path}/run; expected one" in checked(listen="unix:run/sock")[2]
    (tmp_path / "file").touch()
    assert "which is not a socket" in checked(listen="unix:file")[2]
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "sock"))
        assert checked(listen="unix:sock")[0] == 0
        taken.listen()
        assert "another program listens there already" in checked(listen="unix:sock")[2]


def test_the_addresses_of_our_own_agent_are_not_errors(tmp_path: Path, checked: Checked) -> None:
    prepare(tmp_path / "state")
    lock = Lock.acquire(tmp_path / "state", tmp_path / "rainbowd.json")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        status, out, _ = checked(listen=f"127.0.0.1:{ours.getsockname()[1]}", state_dir="state")
    lock.release()
    assert (status, f"note: an agent runs with this config, pid {os.getpid()}\n" in out) == (0, True)


@pytest.mark.parametrize(("path", "problem"), [("logs/app.log", "found no directory"), ("v1", "which is a directory")])
def test_a_log_file_that_cannot_be_made_is_an_error(checked: Checked, path: str, problem: str) -> None:
    status, _, err = checked(log={"app": path})
    assert (status, "log.app: found " in err, problem in err) == (2, True, True)
    assert checked(log={"app": "app.log"})[0] == 0


@needs_root
def test_a_check_without_root_names_the_parts_that_it_leaves_out(
    open_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (open_path / "v1").mkdir()
    (open_path / "secrets").touch(mode=0o600)
    keys = {"run": ["true", "{port}"], "health": "/", "user": "root", "listen": "127.0.0.1:80", "env_file": "secrets"}
    (open_path / "rainbowd.json").write_text(json.dumps({**keys, "release": "v1"}))
    main(["check", "--config", str(open_path / "rainbowd.json")])  # as root, which loads all that is needed
    capfd.readouterr()
    os.seteuid(uid())
    try:
        status = main(["check", "--config", str(open_path / "rainbowd.json")])
    finally:
        os.seteuid(0)
    out, err = capfd.readouterr()
    assert (status, "run, as root: true" in out) == (0, True)
    assert f"needs an agent that runs as root, and {USER} cannot check what root and root can do" in err


@needs_root
def test_a_file_that_this_user_may_not_write_is_an_error(open_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (open_path / "v1").mkdir()
    keys = {"run": ["true", "{port}"], "health": "/", "listen": ["127.0.0.1:0", "unix:s"], "log": {"app": "app.log"}}
    (open_path / "rainbowd.json").write_text(json.dumps({**keys, "release": "v1"}))
    assert main(["check", "--config", str(open_path / "rainbowd.json")]) == 0  # as root, which loads all that is needed
    capfd.readouterr()
    os.seteuid(uid())
    try:
        assert main(["check", "--config", str(open_path / "rainbowd.json")]) == 2
    finally:
        os.seteuid(0)
    err = capfd.readouterr().err
    where = f"found {open_path}, where {USER} cannot write (Permission denied)"
    assert f"state_dir: {where}; expected a directory that the agent's user may write to" in err
    assert f"log.app: {where}; expected" in err
    assert "cannot listen on unix:" in err


def test_the_name_of_a_release_cannot_control_the_terminal(tmp_path: Path, checked: Checked) -> None:
    release = tmp_path / "v\x1b]0;owned\x07\u202e2"
    release.mkdir()
    status, out, err = checked(release=release.name)
    assert status == 0
    assert "\\x1b]0;owned\\x07\\u202e2" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out + err)
