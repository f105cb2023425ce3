"""The page: one response made of the files in ``browser/``, with a policy that allows only what is in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from rainbowd.report.palette import COLOURS
from rainbowd.report.sentences import SENTENCES, WARNINGS

BROWSER = Path(__file__).with_name("browser")
SCRIPTS = ("calls.js", "timeline.js", "load_history.js", "charts.js", "view.js", "fleet.js", "page.js")
"""In the order in which they depend on each other; they share one scope."""

NONE = "'none'"

_INLINE = re.compile(rb"<(script|style)(?:\s[^>]*)?>(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def read_page() -> tuple[bytes, dict[str, str]]:
    """Return the page, and the header fields to send with it."""
    page = assemble().encode()
    return page, {
        "content-security-policy": policy(page),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }


def assemble() -> str:
    """Return the page as one HTML document."""
    script = "\n".join([f"const WORDS = {words()}", *map(_read, SCRIPTS)])
    page = _read("index.html")
    page = page.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{_read('style.css')}</style>")
    return page.replace('<script src="page.js"></script>', f'<script type="module">\n{script}</script>')


def words() -> str:
    """Return the texts and colours that the page shares with the terminal, as a JavaScript value."""
    return json.dumps({"sentences": SENTENCES, "warnings": WARNINGS, "colours": COLOURS}).replace("<", "\\u003c")


def _read(name: str) -> str:
    return (BROWSER / name).read_text("utf-8")


def policy(page: bytes) -> str:
    """Return a Content Security Policy (CSP Level 3) that allows the page's own scripts and styles by their hashes."""
    hashes: dict[bytes, list[str]] = {b"script": [], b"style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        hashes[kind.lower()].append(f"'sha256-{digest}'")
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(hashes[b'script']) or NONE}",
            f"style-src {' '.join(hashes[b'style']) or NONE}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
