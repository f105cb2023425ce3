"""Reading the files of an earlier agent, which may be incomplete or copied from another state directory."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.address import parse_address
from rainbowd.config import validate
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.interfaces import UndecidedDeploys
from rainbowd.deploy.process import LaunchMarks
from rainbowd.deploy.process.process_identity import boot_id
from rainbowd.deploy.records import DeployMemory, GenerationRecord, NewerFormat, require_format
from rainbowd.errors import ConfigError, RainbowdError
from rainbowd.log import get_logger
from rainbowd.report.journal import read_events
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from rainbowd.config import Config
    from rainbowd.report.journal import Event

    T = TypeVar("T")

MEMORY_NAME = "deploys.json"
PLAN_FORMAT = 1

_OF_GENERATION = re.compile(r"generation-([1-9]\d{0,17})(?:\.json|\.out|\.plan|\.boot)?(?:\.new)?")
_LIMIT_BYTES = 1 << 24

log = get_logger()


def read_memory(state_dir: Path) -> DeployMemory:
    """Return what the previous agent stored about deploys; empty if it cannot be read."""
    without = "the release that the files name is deployed unless it is live"
    return read_state_file(state_dir / MEMORY_NAME, DeployMemory.decode, without) or DeployMemory()


def read_records(state_dir: Path) -> dict[int, GenerationRecord]:
    """Return the valid records, by the generation's id.

    A record from before the last boot of the machine, or one that was copied from another state directory, says nothing
    about the processes that run now, and is ignored.
    """
    records = {}
    for number in sorted(_numbers(state_dir)):
        record = read_state_file(
            GenerationFiles(state_dir, number).record, GenerationRecord.decode, "its app is ended and launched again"
        )
        if record is None:
            continue
        if (record.identity.state_dir, record.identity.generation) != (str(state_dir), number) or not _is_address(
            record.identity.address
        ):
            log.warning(
                "ignoring a generation record from another state directory",
                file=GenerationFiles(state_dir, number).record,
            )
            continue
        if record.identity.boot_id == boot_id():
            records[number] = record
    return records


@dataclass(frozen=True)
class Launched:
    """What a generation was launched from, and as.

    Attributes:
        config: by which.
        source: the same, as JSON has it.
        env_file: its variables, as they were then.
        marks: by which its processes are recognized; None if an earlier version launched it, which recorded none.
    """

    config: Config
    source: Mapping[str, object]
    env_file: Mapping[str, str]
    marks: LaunchMarks | None = None


def encode_plan(source: object, env_file: object, marks: LaunchMarks | None = None) -> bytes:
    """Return what a generation is launched from and as, for a later agent: for a file that nobody else may read."""
    fields = {} if marks is None else marks.to_fields()
    return json.dumps({"format": PLAN_FORMAT, "config": source, "env_file": env_file, **fields}).encode() + b"\n"


def read_plan(path: Path, config_file: Path) -> Launched | None:
    """Return what a generation was launched from and as; None if that is lost."""

    def decode(data: bytes) -> Launched:
        fields = require_format(json.loads(data), PLAN_FORMAT)
        source, env_file = fields["config"], fields["env_file"]
        try:
            return Launched(
                validate(source, config_file).config,
                source,
                {str(name): str(env_file[name]) for name in env_file},
                LaunchMarks.from_fields(fields),
            )
        except (ConfigError, TypeError, AttributeError) as error:  # the last two if a part has another type
            raise ValueError(str(error)) from None

    return read_state_file(path, decode, "the present config counts")


def read_undecided(state_dir: Path, last: int) -> UndecidedDeploys:
    """Deploys, and generations up to number ``last``, whose end is missing from the journal.

    Reads all of it, so call it in a thread.
    """
    try:
        return undecided(read_events(state_dir), last)
    except RainbowdError as error:
        log.warning("cannot read which deploys were undecided", error=str(error))
        return UndecidedDeploys()


def undecided(events: Iterable[Event], last: int) -> UndecidedDeploys:
    """Return the deploys and generations without an end; generations above ``last`` belong to this agent."""
    deploys: dict[object, Event] = {}
    generations: dict[object, str] = {}
    for event in events:
        name, deploy, generation = event["event"], event.get("deploy"), event.get("generation")
        if name in {"deploy.succeeded", "deploy.failed", "deploy.rolled_back"}:
            deploys.pop(deploy, None)
        elif name == "deploy.requested":
            deploys[deploy] = event
        elif name == "generation.launched":
            generations[generation] = str(event.get("release"))
        elif name == "generation.retired":
            generations.pop(generation, None)
    return UndecidedDeploys(
        {deploy: event for deploy, event in deploys.items() if isinstance(deploy, str)},
        {number: release for number, release in generations.items() if isinstance(number, int) and number <= last},
    )


def clear_all_but(state_dir: Path, spared: Collection[int], last: int) -> None:
    """Remove the files of all generations up to ``last`` except ``spared``; call it in a thread."""
    for number in {number for number in _numbers(state_dir) if number <= last and number not in spared}:
        try:
            place = GenerationFiles(state_dir, number)
            place.clear()
            for file in (place.record, place.source, place.startup_output):
                file.with_name(f"{file.name}.new").unlink(missing_ok=True)  # of a write that was interrupted
        except OSError as error:
            log.warning("cannot remove the files of an earlier agent", file=error.filename, error=error.strerror)


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def _numbers(state_dir: Path) -> set[int]:
    return {int(found[1]) for entry in _entries(state_dir) if (found := _OF_GENERATION.fullmatch(entry.name))}


def _entries(state_dir: Path) -> Iterator[Path]:
    try:
        yield from state_dir.iterdir()
    except OSError as error:
        log.warning("cannot list the files of an earlier agent", error=error.strerror)


def read_state_file(path: Path, decode: Callable[[bytes], T], without: str) -> T | None:
    """Return the content of a file; None if it does not exist, or, after a warning, if it cannot be used.

    Args:
        path: of the file.
        decode: converts the bytes.
        without: what happens instead if a newer version wrote the file.
    """
    try:
        with open_to_read(path) as file:
            return decode(file.read(_LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except NewerFormat as error:
        hint = f"start the newer version to continue from there; with this one {without}"
        log.warning("a file of the state directory is not understood", file=path, error=str(error), hint=hint)
    except (OSError, ValueError, KeyError) as error:
        log.warning("a file of the state directory cannot be used", file=path, error=str(error))
    return None
