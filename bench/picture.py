"""The picture for the README: a panel of horizontal bars for each of a few rows, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.proxies import OURS
from bench.table import BASE, number

if TYPE_CHECKING:
    from bench.results import Results, Row

PANELS = ("cpu.browser.32", "body.down.1", "body.up.64", "idle.10000")
"""The rows that are drawn, where they were measured."""
WIDTH, LEFT, RIGHT = 760, 130, 150
BAR, STEP, TITLE, GAP = 14, 20, 30, 14
INK, OTHERS, HIGHLIGHT = "#7d8590", "#8c959f", "#8a63d2"
"""Readable on white and on GitHub's dark alike: a picture in a README does not know which of them it is on."""


def picture(results: Results) -> str:
    """The whole of an SVG; least is best in all of it."""
    body: list[str] = []
    top = 0
    for key in PANELS:
        medians = _medians(results, key)
        if medians:
            body += _panel(results, results.rows[key], medians, top)
            top += TITLE + STEP * len(medians) + GAP
    return "\n".join([_opening(max(top, 1)), *body, "</svg>\n"])


def _medians(results: Results, key: str) -> dict[str, float]:
    spreads = {peer: results.spread(key, peer) for peer in results.peers}
    return {peer: max(spread.median, 0.0) for peer, spread in spreads.items() if spread}


def _opening(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="12">\n'
        "<title>What rainbowd and its peers cost, side by side; shorter is better</title>"
    )


def _panel(results: Results, row: Row, medians: dict[str, float], top: int) -> list[str]:
    scale = (WIDTH - LEFT - RIGHT) / (max(medians.values()) or 1.0)
    title = escape(f"{row.label}, {row.unit} (shorter is better)")
    lines = [f'<text x="0" y="{top + 18}" fill="{INK}" font-size="13" font-weight="600">{title}</text>']
    for place, (peer, median) in enumerate(medians.items()):
        ratio = results.ratio(row.key, peer, row.key, BASE) if peer != BASE else None
        beside = f"  ({number(ratio.median)}x {BASE})" if ratio else ""
        lines += _bar(peer, f"{number(median)}{beside}", median * scale, top + TITLE + STEP * place)
    return lines


def _bar(peer: str, text: str, length: float, top: int) -> list[str]:
    fill, weight = (HIGHLIGHT, 700) if peer in OURS else (OTHERS, 400)
    text_style = f'fill="{INK}" font-weight="{weight}"'
    baseline = top + BAR - 3
    return [
        f'<text x="{LEFT - 8}" y="{baseline}" {text_style} text-anchor="end">{escape(peer)}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" fill="{fill}"/>',
        f'<text x="{LEFT + length + 6:.1f}" y="{baseline}" {text_style}>{escape(text)}</text>',
    ]
