"""The real world: the config file, the release link, ports, processes, probes."""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress, UnixAddress
from rainbowd.config import load, read_env_file, refuse_foreign_writers, restart_needed
from rainbowd.deploy import commands
from rainbowd.deploy.health import Prober, until_healthy
from rainbowd.deploy.listening import listeners, owns
from rainbowd.deploy.output import Output
from rainbowd.deploy.ports import choose_port, is_free
from rainbowd.deploy.process import spawn
from rainbowd.deploy.seam import Plan, PortTaken
from rainbowd.deploy.sight import resolve_release
from rainbowd.errors import ConfigError, DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rainbowd.config import Config, Loaded
    from rainbowd.deploy.process import Ending, Process

_RECORD_MODE = 0o640

log = get_logger()


class Machine:
    """What the supervisor can do to this machine.

    Args:
        file: the config file, read again at each deploy.
        loaded: what it said at the start.
        soft_limit: of open files, as the agent was started with; the apps have it again.
        numbers: gives out the generations' numbers.
        app_sink: takes a generation's number and one line of its output; must not block.
    """

    def __init__(
        self,
        file: Path,
        loaded: Loaded,
        *,
        soft_limit: int,
        numbers: Callable[[], int],
        app_sink: Callable[[int, str], None],
    ) -> None:
        self.next_number = numbers
        self._file = file
        self._started_with = loaded.config
        self._state_dir = Path(os.path.realpath(loaded.config.state_dir))  # one spelling: it marks processes as ours
        self._soft_limit = soft_limit
        self._app_sink = app_sink
        self._prober = Prober()
        self._ports_in_use: set[int] = set()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def named(self) -> Path | None:
        """The release that the files name, resolved; a dangling link's target as written; None where there is none."""
        release = self._started_with.release
        try:
            return Path(os.path.realpath(release, strict=True))
        except OSError:
            with contextlib.suppress(OSError):  # no link, or none any more
                return Path(os.readlink(release))  # noqa: PTH115 - as written
        return None

    def plan(self) -> Plan:
        """Read the config and what the files name.

        Raises:
            DeployFailed: the config is broken, the release is missing or dangles.
        """
        try:
            config = self._read_config()
            env_file = read_env_file(config.env_file) if config.env_file is not None else {}
        except ConfigError as error:
            raise DeployFailed("; ".join(error.problems)) from None
        return Plan(resolve_release(self._started_with.release), config, env_file)

    def _read_config(self) -> Config:
        config = load(self._file).config
        if os.geteuid() == 0:
            refuse_foreign_writers(self._file)
            if config.env_file is not None:
                refuse_foreign_writers(config.env_file)
        for key in restart_needed(self._started_with, config):
            log.warning("a change in the config is without effect until a restart", key=key)
        return config

    @contextlib.asynccontextmanager
    async def launch(self, plan: Plan, number: int) -> AsyncIterator[LaunchedApp]:
        """Prepare one launch of ``plan``, in front of its gate; its output is read as long as the context is open.

        Raises:
            DeployFailed: no free port, command not found, directory gone, no room for its record.
        """
        place = Place(self._state_dir, number)
        address = self._choose_address(plan.config, place)
        try:
            app = self._spawn(plan, number, place, address)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(app.output.drain, partial(self._app_sink, number))
                    try:
                        yield app
                    finally:
                        await app.end_if_left()
                        nursery.cancel_scope.cancel()
            finally:
                app.output.finish()
                app.output.remove()
        finally:
            place.clear()
            if isinstance(address, TcpAddress):
                self._ports_in_use.discard(address.port)

    def _choose_address(self, config: Config, place: Place) -> Address:
        if config.uses_socket:
            return UnixAddress(place.socket)
        port = choose_port(config.ports, self._ports_in_use)
        self._ports_in_use.add(port)
        return TcpAddress("127.0.0.1", port)

    def _spawn(self, plan: Plan, number: int, place: Place, address: Address) -> LaunchedApp:
        port = address.port if isinstance(address, TcpAddress) else None
        socket = address.path if isinstance(address, UnixAddress) else None
        argv = commands.render(
            plan.config.run, port=port, socket=socket, pidfile=place.pidfile, release=plan.release, generation=number
        )
        env = commands.environment(
            os.environ,
            config_env=plan.config.env,
            env_file_env=plan.env_file,
            port=port,
            socket=socket,
            pidfile=place.pidfile,
            release=plan.release,
            generation=number,
            state_dir=self._state_dir,
        )
        commands.find_command(argv, env, plan.release)
        try:
            place.make()
            output = Output(place.output)
        except OSError as error:
            raise DeployFailed(f"state_dir: cannot write there: {error.strerror} ({error.filename})") from None
        try:
            process = spawn(
                argv,
                cwd=plan.release,
                env=env,
                address=address,
                output_fd=output.child_fd,
                nofile_limit=self._soft_limit,
            )
            output.close_child_end()
            place.write_record(process.identity.to_json())
        except OSError as error:
            output.remove()
            raise DeployFailed(f"state_dir: cannot write the record: {error.strerror}") from None
        except DeployFailed:
            output.remove()
            raise
        return LaunchedApp(plan.config, address, process, output, self._prober)


class Place:
    """A generation's files in the state directory."""

    def __init__(self, state_dir: Path, number: int) -> None:
        self.directory = state_dir / f"generation-{number}"
        self.pidfile = self.directory / "pid"
        self.socket = self.directory / "sock"
        self.output = state_dir / f"generation-{number}.out"
        self._record = state_dir / f"generation-{number}.json"

    def make(self) -> None:
        """Make the directory, empty."""
        self.directory.mkdir(mode=0o700, exist_ok=True)

    def write_record(self, record: str) -> None:
        """Put the record there before the app's first instruction runs."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):
            self._record.unlink()
        with open(os.open(self._record, flags, _RECORD_MODE), "w") as file:  # noqa: PTH123 - of a descriptor
            file.write(record + "\n")

    def clear(self) -> None:
        """Remove everything; what else the app has put there too."""
        self._record.unlink(missing_ok=True)
        self.output.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            for entry in self.directory.iterdir():
                with contextlib.suppress(OSError):  # a directory of the app's own: it stays, and ours around it
                    entry.unlink()
        with contextlib.suppress(OSError):
            self.directory.rmdir()


class LaunchedApp:
    """The processes of one launch, their output and their address."""

    def __init__(self, config: Config, address: Address, process: Process, output: Output, prober: Prober) -> None:
        self.address = address
        self.pid = process.pid
        self.output = output
        self._config = config
        self._process = process
        self._prober = prober
        self._ended = False

    def open_gate(self) -> None:
        """Let it run."""
        self._process.open_gate()

    async def check(self) -> None:
        """Return once it is healthy on a socket of its own.

        Raises:
            DeployFailed: it is not in time; the reason says what was last seen.
            PortTaken: a stranger answers on its port.
        """
        health = self._config.health
        if health is None:
            await trio.sleep(self._config.warmup or 0.0)
        else:
            try:
                await until_healthy(self._prober, self.address, health)
            except DeployFailed as failure:
                raise DeployFailed(failure.reason + await self._listening_elsewhere()) from None
        await self._check_owner(seen_healthy=health is not None)

    async def _check_owner(self, *, seen_healthy: bool) -> None:
        pids = await self._process.members()
        owner = await trio.to_thread.run_sync(owns, pids, self.address)
        if owner is None:
            log.warning("cannot see whose socket it is, as /proc hides it", address=str(self.address))
        elif not owner and seen_healthy:
            raise PortTaken(f"{self.address} is answered by a process that is not of this generation")
        elif not owner:
            raise DeployFailed(f"not listening on {self.address} after the warm-up" + await self._listening_elsewhere())

    async def _listening_elsewhere(self) -> str:
        """Where it listens instead, as the end of a sentence; nothing where it listens as it was told."""
        found = await trio.to_thread.run_sync(listeners, await self._process.members())
        if str(self.address) in found.addresses:
            return ""
        if found.addresses:
            return f"; the app listens on {', '.join(found.addresses)}"
        return "; /proc hides where the app listens" if found.hidden else "; the app does not listen anywhere"

    async def ended(self) -> int | None:
        """Wait until nothing of it serves any more; the exit status."""
        return await self._process.ended()

    def port_is_taken(self) -> bool:
        """Whether a stranger listens where the app, which has exited, was to listen."""
        return isinstance(self.address, TcpAddress) and not is_free(self.address.port)

    def last_lines(self) -> list[str]:
        """The end of its output, with what is in the pipe by now."""
        self.output.finish()
        return self.output.tail

    async def end(self, hurry: trio.Event) -> Ending:
        """Stop what is left of it, and reap it."""
        drain = self._config.drain
        ending = await self._process.end(signal=drain.signal, kill_after_seconds=drain.kill_after, hurry=hurry)
        self._ended = True
        return ending

    async def end_if_left(self) -> None:
        """Whatever went wrong above, no process is left; bounded by ``drain.kill_after``."""
        if not self._ended:
            with trio.CancelScope(shield=True):
                await self.end(trio.Event())
