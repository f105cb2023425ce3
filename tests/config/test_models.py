from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from signal import Signals

import pytest
from pydantic import ValidationError

from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.config import (
    ApiSettings,
    Config,
    Drain,
    Health,
    Limits,
    Liveness,
    PortRange,
    StatusRanges,
    load,
    redacted,
)

Load = Callable[..., Config]
Problems = Callable[..., list[str]]


def test_the_smallest_config_has_the_documented_defaults(file: Path) -> None:
    file.write_text('{"run": ["app", "{port}"], "health": "/up"}')
    found = load(file)
    assert found.warnings == ()
    assert redacted(found.config) == {
        "run": ["app", "{port}"],
        "name": None,
        "release": str(file.parent),
        "trigger_file": str(file.parent / "redeploy.trigger"),
        "listen": ["0.0.0.0:7000"],
        "ports": "20000-29999",
        "env": {},
        "env_file": None,
        "user": None,
        "group": None,
        "health": {
            "path": "/up",
            "host": "localhost",
            "headers": {},
            "status": "200-299",
            "interval": 0.25,
            "timeout": 5,
            "passes": 1,
            "deadline": 60,
            "liveness": None,
        },
        "warmup": None,
        "drain": {"timeout": 60, "tunnels": 30, "stop": 25, "signal": "TERM", "kill_after": 10},
        "standby": 0,
        "bake": {"seconds": 0, "max_error_rate": 0.05, "min_errors": 5},
        "canary": {"steps": [], "seconds": 30, "by": "client"},
        "workers": 1,
        "max_generations": 10,
        "hold": {"timeout": 10, "limit": 1000},
        "limits": {
            "head_bytes": 65536,
            "headers": 128,
            "body_bytes": None,
            "connections": 10000,
            "head_timeout": 10,
            "idle_timeout": 180,
            "body_timeout": 60,
            "response_timeout": 60,
        },
        "processes": {},
        "hooks": {
            "before_launch": None,
            "after_live": None,
            "after_failure": None,
            "fetch": None,
            "on_rollback": False,
            "timeout": 600,
        },
        "api": {"enabled": False, "listen": "127.0.0.1:7001", "token_file": None},
        "fleet": None,
        "trust": ["127.0.0.0/8", "::1/128"],
        "assets": [],
        "error_pages": None,
        "maintenance": {"file": str(file.parent / "rainbowd.maintenance"), "retry_after": 120, "allow": []},
        "pause_file": str(file.parent / "rainbowd.pause"),
        "state_dir": str(file.parent / ".rainbowd"),
        "log": {"level": "info", "format": "auto", "access": False, "app": "stdout"},
    }


def test_a_time_beyond_any_clock_means_for_ever(loaded: Load) -> None:
    config = loaded(standby=1e300, limits={"idle_timeout": 1e308}, drain={"timeout": 1e9})
    assert (config.standby, config.limits.idle_timeout, config.drain.timeout) == (1e9, 1e9, 1e9)


def test_the_config_at_the_top_of_the_repository_is_good() -> None:
    found = load(Path(__file__).parents[2] / "rainbowd.json")
    assert found.warnings == ()
    assert found.config.listen == (TcpAddress("0.0.0.0", 7000),)
    assert found.config.health == Health(path="/up")


def test_every_value_has_the_type_that_the_program_uses(file: Path, loaded: Load) -> None:
    config = loaded(
        release="../current",
        trigger_file=None,
        listen=["[::1]:0", "localhost:80", "unix:run/x.sock"],
        ports="1-65535",
        env={"A": "", "B_é": "x=y"},
        env_file="/etc/app.env",
        health={
            "path": "/up?x=1",
            "host": "a.example:80",
            "headers": {"X-A": "b c"},
            "status": "200-299, 401",
        },
        drain={"signal": "SIGQUIT", "timeout": 0, "kill_after": 0.5},
        limits={"head_timeout": None, "connections": None, "body_bytes": 1},
        trust=["10.1.2.3/8", "::1"],
        api={"enabled": True, "listen": "unix:api.sock", "token_file": "api.token"},
        log={"app": "app.log", "format": "json", "level": "debug", "access": True},
        state_dir="/run/x",
        **{"$schema": "https://example.org/schema.json"},
    )
    base = file.parent
    assert config.release == base.parent / "current"
    assert config.trigger_file is None
    assert config.listen == (
        TcpAddress("::1", 0),
        TcpAddress("localhost", 80),
        UnixAddress(base / "run/x.sock"),
    )
    assert config.ports == PortRange(1, 65535)
    assert config.env == {"A": "", "B_é": "x=y"}
    assert config.env_file == Path("/etc/app.env")
    assert config.health is not None
    assert [config.health.status.matches(code) for code in (200, 299, 300, 401, 402)] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert (config.drain.signal, config.drain.timeout, config.drain.tunnels) == (Signals.SIGQUIT, 0, 30)
    assert config.limits == Limits(head_timeout=None, connections=None, body_bytes=1)
    assert config.trust == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert config.api == ApiSettings(enabled=True, listen=UnixAddress(base / "api.sock"), token_file=base / "api.token")
    assert (config.log.app, config.log.access) == (base / "app.log", True)
    assert config.state_dir == Path("/run/x")


def test_a_config_cannot_be_changed(loaded: Load) -> None:
    config = loaded()
    with pytest.raises(ValidationError, match="frozen"):
        config.warmup = 5


def test_a_config_can_be_made_in_python_from_its_values(loaded: Load) -> None:
    read = loaded(listen=["[::1]:0"], drain={"signal": "INT"}, log={"app": "/a"})
    assert Config(**{key: getattr(read, key) for key in Config.model_fields}) == read
    drain = Drain(signal=Signals.SIGINT)
    assert (Config(run="x", drain=drain).drain, Drain(**drain.__dict__)) == (drain, drain)
    health = Health(path="/", status=StatusRanges.parse("204"))
    assert Health(**health.__dict__) == health


@pytest.mark.parametrize(
    ("run", "uses_socket"),
    [
        ("app {socket}", True),
        (["app", "--bind=unix:{socket}"], True),
        ("app $SOCKET", True),
        ("app ${SOCKET}", True),
        ("app $SOCKETS", False),
        ("app ${socket}", False),
        (["app", "$SOCKET"], False),
        ("app $PORT", False),
        ("app {port}", False),
    ],
)
def test_a_command_that_names_a_socket_uses_one(loaded: Load, run: object, uses_socket: bool) -> None:
    assert loaded(run=run).uses_socket is uses_socket


def test_a_value_of_the_environment_that_names_a_socket_uses_one(loaded: Load) -> None:
    assert loaded(run=["app"], env={"BIND": "unix:{socket}"}).uses_socket
    assert not loaded(run=["app"], env={"BIND": "127.0.0.1:{port}"}).uses_socket


SECONDS = "a number of seconds, 0 or more"
ABOVE_ZERO = "a number of seconds above 0"
LISTEN = "HOST:PORT, [V6]:PORT or unix:PATH"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"run": ""}, 'run: found ""; expected a command'),
        ({"run": "  "}, 'run: found "  "; expected a command'),
        ({"run": []}, "run: found []; expected a command"),
        ({"run": [""]}, 'run: found [""]; expected a command'),
        ({"run": ["a", 5]}, 'run: found ["a", 5]; expected a command'),
        ({"run": "a\0b"}, 'run: found "a\\u0000b"; expected a command'),
        ({"run": None}, "run: found null; expected a command"),
        ({"release": None}, "release: found null; expected a path"),
        ({"release": ""}, 'release: found ""; expected a path'),
        ({"trigger_file": 5}, "trigger_file: found 5; expected a path, neither empty"),
        ({"state_dir": "\0"}, 'state_dir: found "\\u0000"; expected a path'),
        ({"env_file": ["a"]}, 'env_file: found ["a"]; expected a path'),
        ({"listen": []}, "listen: found []; expected HOST:PORT"),
        ({"listen": 7000}, f"listen: found 7000; expected {LISTEN}"),
        ({"listen": "7000"}, f'listen: found "7000"; expected {LISTEN}'),
        ({"listen": "x:65536"}, 'listen: found "x:65536"; expected a port of at most 65535'),
        (
            {"listen": ["x:1", "256.0.0.1:1"]},
            'listen[1]: found "256.0.0.1:1"; expected an IP address or a name',
        ),
        ({"listen": "a b:1"}, 'listen: found "a b:1"; expected an IP address or a name'),
        ({"listen": "-a:1"}, 'listen: found "-a:1"; expected an IP address or a name'),
        ({"listen": "::1:1"}, 'listen: found "::1:1"; expected an IPv6 address in brackets'),
        ({"listen": "unix:" + "x" * 108}, "expected a socket path of at most 107 bytes"),
        ({"listen": ["x:1", "x:1"]}, "expected each address once"),
        ({"api": {"listen": ["x:1"]}}, 'api.listen: found ["x:1"]; expected HOST:PORT, [V6]:PORT or unix:PATH'),
        ({"api": {"enabled": "yes"}}, 'api.enabled: found "yes"; expected true or false'),
        ({"api": {"token": "x"}}, "api.token: found an unknown key; expected one of enabled, listen, token_file"),
        ({"ports": 20000}, "ports: found 20000; expected two ports"),
        ({"ports": "0-10"}, 'ports: found "0-10"; expected two ports'),
        ({"ports": "20-10"}, 'ports: found "20-10"; expected two ports'),
        ({"listen": 7000}, f'{LISTEN}, such as "127.0.0.1:7000"'),
        ({"listen": ":7000"}, f'{LISTEN}, such as "127.0.0.1:7000", or "0.0.0.0:7000" for every interface'),
        ({"ports": "3000-3000"}, 'ports: found "3000-3000"; expected two ports or more, such as "20000-29999"'),
        ({"ports": "1-65536"}, 'ports: found "1-65536"; expected two ports'),
        ({"env": []}, "env: found a list; expected an object of strings"),
        ({"env": {"A": 5}}, "env.A: found a number; expected a string"),
        ({"env": {"env": None}}, "env.env: found null; expected a string"),
        ({"env": {"A=B": "x"}}, 'env."A=B": found a string; expected a name without = and NUL'),
        ({"env": {"": "x"}}, 'env."": found a string; expected a name without = and NUL'),
        ({"env": {"A": "x\0"}}, "env.A: found a string; expected a string without NUL"),
        ({"health": 5}, 'health: found 5; expected a path such as "/up"'),
        ({"health": {}}, "health.path: found nothing; expected a path that begins with /"),
        ({"health": "up"}, 'health.path: found "up"; expected a path that begins with /'),
        ({"health": "/\r\nX: y"}, "health.path: found"),
        ({"health": {"path": "/", "host": ""}}, 'health.host: found ""; expected a host name'),
        ({"health": {"path": "/", "host": "a\r\nb"}}, 'health.host: found "a\\r\\nb"; expected'),
        (
            {"health": {"path": "/", "headers": {"A": "b\r\nC: d"}}},
            "health.headers.A: found a string; expected printable",
        ),
        (
            {"health": {"path": "/", "headers": {"A B": "c"}}},
            'health.headers."A B": found a string; expected a header\'s',
        ),
        (
            {"health": {"path": "/", "headers": {"Host": "c"}}},
            "expected other headers here: the host is health.host",
        ),
        ({"health": {"path": "/", "status": 200}}, "health.status: found 200; expected status codes such as"),
        ({"health": {"path": "/", "status": "2xx"}}, 'health.status: found "2xx"; expected status codes'),
        (
            {"health": {"path": "/", "status": "299-200"}},
            'health.status: found "299-200"; expected status codes',
        ),
        ({"health": {"path": "/", "status": "200,"}}, 'health.status: found "200,"; expected status codes'),
        ({"health": {"path": "/", "interval": 0}}, f"health.interval: found 0; expected {ABOVE_ZERO}"),
        (
            {"health": {"path": "/", "passes": 0}},
            "health.passes: found 0; expected a whole number, 1 or more",
        ),
        ({"health": {"path": "/", "passes": 1.5}}, "health.passes: found 1.5; expected a whole number"),
        ({"health": None, "warmup": True}, f"warmup: found true; expected {SECONDS}"),
        ({"health": None, "warmup": -0.1}, f"warmup: found -0.1; expected {SECONDS}"),
        ({"drain": 60}, "drain: found 60; expected an object"),
        ({"drain": {"timeout": True}}, f"drain.timeout: found true; expected {SECONDS}"),
        ({"drain": {"timeout": "60"}}, f'drain.timeout: found "60"; expected {SECONDS}'),
        ({"drain": {"stop": float("nan")}}, f"drain.stop: found NaN; expected {SECONDS}"),
        ({"drain": {"stop": float("inf")}}, f"drain.stop: found Infinity; expected {SECONDS}"),
        ({"drain": {"timeout": None}}, f"drain.timeout: found null; expected {SECONDS}"),
        ({"drain": {"signal": 15}}, 'drain.signal: found 15; expected a signal\'s name such as "TERM"'),
        ({"drain": {"signal": "BANG"}}, 'drain.signal: found "BANG"; expected a signal\'s name'),
        ({"name": ""}, 'name: found ""; expected 1 to 64 printable characters, or null'),
        ({"name": "a\x1bb"}, 'name: found "a\\u001bb"; expected 1 to 64 printable characters, or null'),
        ({"workers": 65}, 'workers: found 65; expected a whole number from 1 to 64, or "auto"'),
        ({"workers": True}, 'workers: found true; expected a whole number from 1 to 64, or "auto"'),
        ({"workers": "all"}, 'workers: found "all"; expected a whole number from 1 to 64, or "auto"'),
        ({"bake": -1}, "bake.seconds: found -1; expected a number of seconds, 0 or more"),
        ({"bake": True}, "bake: found true; expected a number of seconds, 0 or more, or an object"),
        ({"bake": {"max_error_rate": 5}}, "bake.max_error_rate: found 5; expected a number from 0 to 1"),
        ({"bake": {"min_errors": 0}}, "bake.min_errors: found 0; expected a whole number, 1 or more"),
        ({"canary": {"steps": [0]}}, "canary.steps: found [0]; expected a list of rising percentages"),
        ({"canary": {"steps": [5, 100]}}, "canary.steps: found [5, 100]; expected a list of rising percentages"),
        ({"canary": {"steps": [5, 5]}}, "canary.steps: found [5, 5]; expected a list of rising percentages"),
        ({"canary": {"steps": [25, 5]}}, "canary.steps: found [25, 5]; expected a list of rising percentages"),
        ({"canary": {"seconds": 0}}, "canary.seconds: found 0; expected a number of seconds above 0"),
        (
            {"canary": {"by": "cookie:"}},
            'canary.by: found "cookie:"; expected "client", "cookie:NAME" or "header:NAME"',
        ),
        ({"assets": "/a/"}, 'assets: found "/a/"; expected a list of path prefixes such as "/assets/"'),
        ({"assets": ["a/"]}, 'assets[0]: found "a/"; expected the beginning of a path, such as "/assets/"'),
        ({"assets": ["/a", "/b?c"]}, 'assets[1]: found "/b?c"; expected the beginning of a path, such as "/assets/"'),
        ({"maintenance": {"allow": ["all"]}}, 'maintenance.allow[0]: found "all"; expected a network such as'),
        ({"maintenance": {"retry_after": -1}}, "maintenance.retry_after: found -1; expected a whole number of seconds"),
        ({"max_generations": 1}, "max_generations: found 1; expected a whole number, 2 or more"),
        ({"max_generations": True}, "max_generations: found true; expected a whole number, 2 or more"),
        ({"hold": {"limit": -1}}, "hold.limit: found -1; expected a whole number, 0 or more"),
        ({"limits": {"head_timeout": 0}}, f"limits.head_timeout: found 0; expected {ABOVE_ZERO}, or null"),
        ({"limits": {"headers": 0}}, "limits.headers: found 0; expected a whole number above 0, or null"),
        ({"limits": {"headers": True}}, "limits.headers: found true; expected a whole number above 0"),
        ({"trust": "10.0.0.0/8"}, 'trust: found "10.0.0.0/8"; expected a list of networks'),
        ({"trust": ["10.0.0.0/33"]}, 'trust[0]: found "10.0.0.0/33"; expected a network such as'),
        ({"trust": ["::1", 5]}, "trust[1]: found 5; expected a network such as"),
        ({"log": {"level": "loud"}}, 'log.level: found "loud"; expected one of "debug"'),
        ({"log": {"format": "xml"}}, 'log.format: found "xml"; expected "auto" or "json"'),
        ({"log": {"access": "yes"}}, 'log.access: found "yes"; expected true or false'),
        ({"log": {"app": 5}}, 'log.app: found 5; expected "stdout", a path, or null'),
    ],
)
def test_a_bad_value_is_named_with_what_was_found_and_what_was_expected(
    problems: Problems, keys: dict[str, object], problem: str
) -> None:
    (found,) = problems(**keys)
    assert problem in found
    assert found.isprintable()


def test_a_number_alone_is_the_seconds_of_a_bake(loaded: Load) -> None:
    bake = loaded(bake=60).bake
    assert (bake.seconds, bake.max_error_rate, bake.min_errors) == (60, 0.05, 5)


@pytest.mark.parametrize("by", ["client", "cookie:sessionid", "header:X-User"])
def test_a_canary_has_rising_steps_and_tells_clients_apart(loaded: Load, by: str) -> None:
    canary = loaded(canary={"steps": [0.5, 25], "by": by}).canary
    assert (canary.steps, canary.seconds, canary.by) == ((0.5, 25), 30, by)


def test_hooks_are_commands_as_run_is(loaded: Load) -> None:
    hooks = loaded(hooks={"before_launch": ["migrate", "{release}"], "after_live": "echo up", "timeout": 0.5}).hooks
    assert hooks.before_launch == ("migrate", "{release}")
    assert (hooks.after_live, hooks.after_failure, hooks.timeout) == ("echo up", None, 0.5)


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        ({"before_launch": []}, "hooks.before_launch: found []; expected a command: "),
        ({"after_live": " "}, 'hooks.after_live: found " "; expected a command: '),
        ({"after_failure": 5}, "hooks.after_failure: found 5; expected a command: "),
        ({"timeout": 0}, "hooks.timeout: found 0; expected a number of seconds above 0"),
        ({"before_lunch": "x"}, "hooks.before_lunch: found an unknown key; expected one of before_launch, "),
        ("migrate", 'hooks: found "migrate"; expected an object'),
    ],
)
def test_hooks_that_are_none_are_refused(problems: Problems, hooks: object, expected: str) -> None:
    (problem,) = problems(hooks=hooks)
    assert problem.startswith(expected)


def test_liveness_has_defaults_of_its_own() -> None:
    config = Config.model_validate({"run": "app", "health": {"path": "/up", "liveness": {}}})
    assert config.health is not None
    assert config.health.liveness == Liveness(interval=10, failures=3)


@pytest.mark.parametrize(
    ("processes", "problem"),
    [
        ({"worker": {}}, "processes.worker.run: found nothing; expected a command"),
        ({"a b": {"run": "x"}}, "expected a name of 1 to 32 letters"),
        (
            {"worker": {"run": "x", "instances": 0}},
            "processes.worker.instances: found 0; expected a whole number from 1",
        ),
        ({"worker": {"run": "x", "workers": 2}}, "processes.worker.workers: found"),
        (
            {"worker": {"run": "serve {port}"}},
            "expected a command without {port}, because a companion process has no port",
        ),
        ({"worker": {"run": ["x"], "env": {"TOKEN": 5}}}, "processes.worker.env.TOKEN: found a number; expected"),
        ({"worker": {"run": "x", "stop": {"kill_after": -1}}}, "processes.worker.stop.kill_after: found -1; expected"),
    ],
)
def test_a_companion_process_that_is_not_valid_is_named(
    problems: Problems, processes: dict[str, object], problem: str
) -> None:
    (found,) = problems(processes=processes)
    assert problem in found


def test_the_variables_of_a_companion_process_are_never_shown(loaded: Load) -> None:
    config = loaded(processes={"worker": {"run": "x", "env": {"TOKEN": "secret"}}})
    assert "secret" not in str(redacted(config))
