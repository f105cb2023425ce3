from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rainbowd.config import Account
from rainbowd.deploy.host.command_line import environment, render

PIDFILE = Path("/state/generation-3/pid")
SOCKET = Path("/state/generation-3/sock")


def rendered(run: str | list[str], *, port: int | None = 20000, release: str = "/srv/v1") -> list[str]:
    socket = SOCKET if port is None else None
    return render(run, port=port, socket=socket, pidfile=PIDFILE, release=Path(release), generation=3)


def test_a_list_is_executed_as_it_is_with_each_placeholder_replaced() -> None:
    run = ["app", "--port={port}", "{pidfile}", "{release}/x", "g{generation}{generation}", "a b"]
    assert rendered(run) == ["app", "--port=20000", str(PIDFILE), "/srv/v1/x", "g33", "a b"]


def test_a_socket_takes_the_place_of_the_port() -> None:
    assert rendered(["app", "unix:{socket}"], port=None) == ["app", f"unix:{SOCKET}"]


@pytest.mark.parametrize("other", ["{}", "{PORT}", "{ port }", "{port:d}", "${x}", "{{", '{"a": {"b": 1}}'])
def test_other_braces_stay(other: str) -> None:
    assert rendered([other]) == [other]
    assert rendered(f"app {other}")[2] == f"app {other}"


def test_replaced_values_are_not_searched_for_placeholders() -> None:
    assert rendered(["{release}"], release="/srv/{port}") == ["/srv/{port}"]


def test_a_string_runs_in_a_shell_with_the_port_and_the_pidfile_as_arguments() -> None:
    assert rendered("app $1 $2") == ["sh", "-c", "app $1 $2", "sh", "20000", str(PIDFILE)]


def test_the_first_argument_of_a_shell_is_empty_with_a_socket() -> None:
    assert rendered("app {socket}", port=None) == ["sh", "-c", f"app {SOCKET}", "sh", "", str(PIDFILE)]


def test_a_shell_reads_what_was_put_in_as_one_word() -> None:
    argv = rendered("printf '%s|' {release} $1 {port}", release="/srv/it's $HOME; `x`")
    assert subprocess.check_output(argv, text=True) == "/srv/it's $HOME; `x`|20000|20000|"


def test_a_variable_of_the_shell_is_no_placeholder() -> None:
    argv = rendered("port=7; printf '%s' ${port}")
    assert subprocess.check_output(argv, text=True) == "7"


def environ(
    base: dict[str, str],
    *,
    config_env: dict[str, str] | None = None,
    env_file_env: dict[str, str] | None = None,
    socket: Path | None = None,
) -> dict[str, str]:
    return environment(
        base,
        config_env=config_env or {},
        env_file_env=env_file_env or {},
        port=None if socket else 20000,
        socket=socket,
        pidfile=PIDFILE,
        release=Path("/srv/v1"),
        generation=3,
        state_dir=Path("/state"),
    )


def test_the_environment_is_the_agents_and_ours() -> None:
    assert environ({"LANG": "C.UTF-8"}) == {
        "LANG": "C.UTF-8",
        "PORT": "20000",
        "PIDFILE": str(PIDFILE),
        "RAINBOWD_GENERATION": "3",
        "RAINBOWD_RELEASE": "/srv/v1",
        "RAINBOWD_STATE_DIR": "/state",
    }


def test_a_generation_on_a_socket_has_no_port() -> None:
    env = environ({"PORT": "80"}, socket=SOCKET)
    assert env["SOCKET"] == str(SOCKET)
    assert "PORT" not in env


def test_the_agents_own_socket_is_not_the_apps() -> None:
    assert "SOCKET" not in environ({"SOCKET": "/run/agent"})


def test_the_env_file_wins_over_the_config_and_that_over_the_agent() -> None:
    env = environ({"A": "0", "B": "0", "C": "0"}, config_env={"B": "1", "C": "1"}, env_file_env={"C": "2"})
    assert (env["A"], env["B"], env["C"]) == ("0", "1", "2")


def test_placeholders_in_the_configs_values_are_filled_in_and_nothing_else() -> None:
    config_env = {
        "SERVER_PORT": "{port}",
        "URLS": "http://127.0.0.1:{port}",
        "PATH": "{release}/bin:$PATH",
        "J": "{a}{}",
    }
    env = environ({}, config_env={**config_env, "G": "{generation}"}, env_file_env={"SECRET": "{port}"})
    assert {name: env[name] for name in (*config_env, "G", "SECRET")} == {
        "SERVER_PORT": "20000",
        "URLS": "http://127.0.0.1:20000",
        "PATH": "/srv/v1/bin:$PATH",
        "J": "{a}{}",
        "G": "3",
        "SECRET": "{port}",
    }


def test_with_a_socket_the_values_have_its_path_and_no_port() -> None:
    env = environ({}, config_env={"BIND": "unix:{socket}", "ONLY_PORT": "{port}"}, socket=SOCKET)
    assert (env["BIND"], env["ONLY_PORT"]) == (f"unix:{SOCKET}", "")


@pytest.mark.parametrize("name", ["PORT", "PIDFILE", "RAINBOWD_STATE_DIR", "RAINBOWD_GENERATION"])
def test_nothing_wins_over_what_marks_and_reaches_a_generation(name: str) -> None:
    assert environ({}, config_env={name: "x"}, env_file_env={name: "y"})[name] == environ({})[name]


def test_what_systemd_told_the_agent_is_not_for_the_app() -> None:
    names = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
        "JOURNAL_STREAM",
    ]  # fmt: skip
    assert environ(dict.fromkeys(names, "1")) == environ({})


def test_an_account_gives_its_variables_and_the_config_has_the_last_word() -> None:
    account = Account(1, 1, (), {"HOME": "/home/app", "USER": "app", "LOGNAME": "app"})
    env = environment(
        {"HOME": "/root", "USER": "root"},
        config_env={"USER": "mine"},
        env_file_env={},
        port=None,
        socket=None,
        pidfile=None,
        release=Path("/srv/v1"),
        generation=None,
        state_dir=Path("/state"),
        account=account,
    )
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == ("/home/app", "mine", "app")
    assert (env["RAINBOWD_GENERATION"], "PORT" in env, "PIDFILE" in env) == ("", False, False)
