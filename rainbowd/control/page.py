"""The page: one file, and a policy under which nothing runs but what is written in it."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

PAGE = Path(__file__).with_name("page.html")

NONE = "'none'"

_INLINE = re.compile(rb"<(script|style)(?:\s[^>]*)?>(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def read_page() -> tuple[bytes, dict[str, str]]:
    """The page, and the fields that it is sent with."""
    page = PAGE.read_bytes()
    return page, {
        "content-security-policy": policy(page),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }


def policy(page: bytes) -> str:
    """A Content Security Policy (CSP Level 3) that knows the page's own scripts and styles by their hashes."""
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
