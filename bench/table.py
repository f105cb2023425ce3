"""The table: a row for each thing measured, a column for each peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results import Results, Row, Spread

BASE = "nginx"
NONE = "-"


def table(results: Results) -> str:
    """All rows; every peer but nginx as a ratio to it in the same round, or in units where there is no nginx."""
    header = ["median (min-max)", *(_heading(peer, results) for peer in results.peers)]
    lines = [header]
    for row in results.rows.values():
        label = row.label if row.unit in {"x", "/s"} else f"{row.label}, {row.unit}"
        lines.append([label, *(cell(results, row, peer) for peer in results.peers)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) if not place else text.rjust(width) for place, (text, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def cell(results: Results, row: Row, peer: str) -> str:
    """What is said of a peer in a row; a ``+`` marks a pace that the load set, not the proxy."""
    mark = "+" if f"{row.key} {peer}" in results.limited else ""
    if compared(results, peer) and row.unit != "x" and BASE in results.values[row.key]:
        ratio = results.ratio(row.key, peer, row.key, BASE)
        return NONE if ratio is None else f"{_text(ratio, 'x')}{mark}"
    spread = results.spread(row.key, peer)
    return NONE if spread is None else f"{_text(spread, row.unit)}{mark}"


def compared(results: Results, peer: str) -> bool:
    """Return whether a peer is shown relative to nginx instead of in units."""
    return BASE in results.peers and peer != BASE


def number(value: float) -> str:
    """With the digits that mean something: 1234, 123, 12.3, 1.23."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def _heading(peer: str, results: Results) -> str:
    return f"{peer} / {BASE}" if compared(results, peer) else peer


def _text(spread: Spread, unit: str) -> str:
    suffix = "x" if unit == "x" else ""
    return f"{number(spread.median)}{suffix} ({number(spread.least)}-{number(spread.most)})"
