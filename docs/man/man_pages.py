"""Makes the man pages from the pages of the documentation; ``hatch_build.py`` adds them to the wheel.

``rainbowd(1)`` is docs/commands.md, ``rainbowd.json(5)`` is docs/configuration.md.  The format is man(7).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOCS = Path(__file__).parents[1]
PAGES = {
    "rainbowd.1": ("commands.md", "deploy new releases of a web app without dropping requests"),
    "rainbowd.json.5": ("configuration.md", "configuration of rainbowd"),
}
"""Each man page, with its source and its one-line description."""
SYNOPSES = {
    "rainbowd.1": ("rainbowd [OPTION]...", "rainbowd COMMAND [OPTION]... [ARGUMENT]"),
    "rainbowd.json.5": ("rainbowd.json", "rainbowd --config FILE"),
}
REQUIRED = "(default: required)"


def write_man_pages(directory: Path) -> dict[str, str]:
    """Write the man pages into ``directory``, and return their places in the environment by their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        (directory / name).write_text(man_page(name))
    return {str(directory / name): f"share/man/man{name[-1]}/{name}" for name in PAGES}


def man_page(name: str) -> str:
    """Return the man page with this file name, such as ``rainbowd.1``, in man(7) format."""
    source, description = PAGES[name]
    title, _, section = name.rpartition(".")
    tree = SyntaxTreeNode(MarkdownIt().enable("table").parse((DOCS / source).read_text()))
    lines = [
        f'.\\" Made from docs/{source} by docs/man/man_pages.py.',
        f'.TH {title.upper()} {section} "" "rainbowd" "rainbowd manual"',
        ".SH NAME",
        f"{_escape(title)} \\- {description}",
        ".SH SYNOPSIS",
        *(line for synopsis in SYNOPSES[name] for line in (f"\\fB{_escape(synopsis)}\\fR", ".br")),
        ".SH DESCRIPTION",
        *(line for node in tree.children for line in _block(node)),
        ".SH SEE ALSO",
        ", ".join(f".BR {other.rpartition('.')[0]} ({other[-1]})" for other in PAGES if other != name),
        ".PP",
        "The paths that begin with docs/ are those of the repository.",
    ]
    return "\n".join(lines) + "\n"


def _block(node: SyntaxTreeNode) -> Iterator[str]:
    """Yield the lines of one block."""
    match node.type:
        case "heading" if node.tag == "h1":
            return
        case "heading":
            yield f".SH {_section_title(node.children[0])}" if node.tag == "h2" else f".SS {_inline(node.children[0])}"
        case "paragraph":
            yield from (".PP", _inline(node.children[0]))
        case "fence":
            yield from (".PP", ".RS 4", ".EX", _escape(node.content.rstrip("\n")), ".EE", ".RE")
        case "bullet_list" | "ordered_list":
            yield from _list(node)
        case "table":
            yield from _table(node)
        case _:
            raise ValueError(f"docs/man/man_pages.py: found {node.type}; expected a kind of block that it knows")


def _list(node: SyntaxTreeNode) -> Iterator[str]:
    for number, item in enumerate(node.children, 1):
        yield ".IP \\(bu 2" if node.type == "bullet_list" else f".IP {number}. 4"
        yield from (_inline(part.children[0]) for part in item.children)


def _table(node: SyntaxTreeNode) -> Iterator[str]:
    """Yield a table as a list of terms: the first cell, and in brackets the cells between it and the last one."""
    head, body = node.children
    titles = [cell.children for cell in head.children[0].children]
    between = [_inline(title[0]) if title else "" for title in titles[1:-1]]
    for row in body.children:
        first, *middle, last = (_inline(cell.children[0]) if cell.children else "" for cell in row.children)
        notes = (f"{title}: {value}" for title, value in zip(between, middle, strict=True))
        yield from (".TP", " ".join([first, *(f"({note})" for note in notes)]).replace(REQUIRED, "(required)"), last)


def _section_title(node: SyntaxTreeNode) -> str:
    """Return the title of a section in capitals, as in other man pages; that of a command stays as it is."""
    title = _inline(node)
    return title if title.startswith("rainbowd") else title.upper()


def _inline(node: SyntaxTreeNode) -> str:
    return "".join(_words(node.children))


def _words(nodes: Iterable[SyntaxTreeNode]) -> Iterator[str]:
    for node in nodes:
        match node.type:
            case "text":
                yield _escape(node.content)
            case "code_inline":
                yield f"\\fB{_escape(node.content)}\\fR"
            case "softbreak":
                yield "\n"
            case "strong":
                yield f"\\fB{_inline(node)}\\fR"
            case "em":
                yield f"\\fI{_inline(node)}\\fR"
            case "link":
                yield _inline(node) + _target(str(node.attrs["href"]))
            case _:
                raise ValueError(f"docs/man/man_pages.py: found {node.type}; expected a kind of text that it knows")


def _target(href: str) -> str:
    """Return where a link leads, in brackets: a man page, or a file; empty for a section of the same page."""
    page = href.partition("#")[0]
    if not page:
        return ""
    for name, (source, _) in PAGES.items():
        if page == source:
            return f" ({_escape(name[:-2])}({name[-1]}))"
    return f" ({_escape(page if '://' in page else os.path.normpath(os.path.join('docs', page)))})"  # noqa: PTH118


def _escape(text: str) -> str:
    """Escape what man(7) would read as a request or a special character."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
