"""Completion for bash, zsh and fish: each script calls ``rainbowd completion words``."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.cli.agent_files import linked_release
from rainbowd.cli.terminal import escape_control, release_name
from rainbowd.config_paths import find_config, read_config_paths
from rainbowd.errors import RainbowdError
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BASH = r"""# rainbowd's completion for bash: eval "$(rainbowd completion bash)", for instance in ~/.bashrc
_rainbowd() {
    local word
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        COMPREPLY+=("$(printf %q "$word")")
    done < <("${COMP_WORDS[0]}" completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _rainbowd rainbowd
"""

ZSH = r"""#compdef rainbowd
# rainbowd's completion for zsh: eval "$(rainbowd completion zsh)" after compinit in ~/.zshrc,
# or this as the file _rainbowd in a directory of $fpath.
_rainbowd() {
    local word help
    local -a found
    while IFS=$'\t' read -r word help; do
        found+=("${word//:/\\:}:$help")
    done < <("${words[1]}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( $#found )); then _describe rainbowd found; else _files; fi
}
if [[ $funcstack[1] == _rainbowd ]]; then _rainbowd "$@"; else compdef _rainbowd rainbowd; fi
"""

FISH = r"""# rainbowd's completion for fish: rainbowd completion fish >~/.config/fish/completions/rainbowd.fish
function __rainbowd_words
    set -l words (commandline -opc)
    $words[1] completion words $words[2..-1] (commandline -ct) 2>/dev/null
    or __fish_complete_path (commandline -ct)
end
complete -c rainbowd -f -a '(__rainbowd_words)'
"""

DEPLOYS = 20
"""How many deploys are offered, newest first."""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


class Completion(NamedTuple):
    """A word that can come next, with its help."""

    word: str
    help: str = ""


def completion(parser: argparse.ArgumentParser, shell: str, words: Sequence[str]) -> int:
    """Print the script of a shell, or the words that can come next, each followed by a tab and its help.

    Args:
        parser: the parser of the whole command line.
        shell: one of ``SCRIPTS``, or ``words``.
        words: the arguments up to the one that is being typed, which may be empty.

    Returns:
        The exit status; 1 if no word is known, such as for a file.
    """
    if shell in SCRIPTS:
        print(SCRIPTS[shell], end="")
        return 0
    found = list(candidates(parser, words))
    for item in found:
        print(f"{item.word}\t{item.help}")
    return 0 if found else 1


def candidates(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[Completion]:
    """Yield the words that can take the place of the last one."""
    *before, typed = words or [""]
    pending: argparse.Action | None = None
    positionals, config = _positionals(parser), None
    for word in before:
        if pending is not None:
            config = word if pending.dest == "config" else config
            pending = None
        elif word.startswith("-"):
            option = _option(parser, word)
            pending = option if option is not None and option.nargs != 0 and "=" not in word else None
        elif positionals:
            positional = positionals.pop(0)
            if isinstance(positional.choices, dict):
                parser = (
                    positional.choices[word] if word in positional.choices else argparse.ArgumentParser(add_help=False)
                )
                positionals = _positionals(parser)
    if pending is not None:
        found = _values(pending, config)
    elif typed.startswith("-"):
        found = (_candidate(action) for action in _actions(parser) if action.option_strings)
    else:
        found = _values(positionals[0], config) if positionals else iter(())
    return (item for item in found if item.word.startswith(typed) and item.help != argparse.SUPPRESS)


def _candidate(option: argparse.Action) -> Completion:
    said = option.help or ""
    return Completion(option.option_strings[-1], said.replace("%(default)s", str(option.default)))


def _values(action: argparse.Action, config: str | None) -> Iterator[Completion]:
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            yield Completion(choice.dest, choice.help or "")
    elif action.choices is not None:
        yield from (Completion(str(choice)) for choice in action.choices if choice != "words")
    elif action.dest == "release":
        yield from _releases(config)
    elif action.dest == "deploy":
        yield from _deploys(config)
    elif action.dest == "server":
        from rainbowd.cli.recipes import SERVERS

        yield from (Completion(name) for name in SERVERS)


def _releases(config: str | None) -> Iterator[Completion]:
    """Yield the directories next to the linked release."""
    with contextlib.suppress(RainbowdError, OSError, RuntimeError):
        paths = read_config_paths(find_config(None if config is None else Path(config)))
        linked = linked_release(paths.release)
        if linked is not None and paths.release.is_symlink():
            siblings = sorted(entry for entry in linked.parent.iterdir() if entry.is_dir())
            for entry in siblings:
                if entry.name.isprintable() and not entry.name.startswith((".", "-")):  # hidden, or an option
                    yield Completion(entry.name, "the linked release" if entry == linked else "a release")


def _deploys(config: str | None) -> Iterator[Completion]:
    """Yield the last deploys, with their releases and results."""
    with contextlib.suppress(RainbowdError, OSError, RuntimeError):
        paths = read_config_paths(find_config(None if config is None else Path(config)))
        for entry in deploys(read_events(paths.state_dir, "deploy."))[:DEPLOYS]:
            result = (entry["result"] or "undecided").replace("_", " ")
            if entry["deploy"].isprintable():
                yield Completion(
                    entry["deploy"], escape_control(f"{release_name(entry['release'] or '-')} {result}, {entry['at']}")
                )


def _option(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    name = word.partition("=")[0]
    return next((action for action in _actions(parser) if name in action.option_strings), None)


def _positionals(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the positional arguments, in order."""
    return [action for action in _actions(parser) if not action.option_strings]


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions
