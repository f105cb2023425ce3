from __future__ import annotations

import pytest

from rainbowd.plain_text import plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as it is", "as it is"),
        ("\x1b[1;31mred\x1b[0m\tand a tab", "red\tand a tab"),
        ("\x1b[38:2::255:0:0mtrue colour\x1b[m", "true colour"),
        ("\x1b[2K\x1b[1Gcleared\x1b[?25l", "cleared"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1b(Bcharset \x1b7saved\x1b8 \x1bc", "charset saved "),
        ("\x9b31m8 bits\x9d0;title\x9c", "8 bits"),
        ("\x1b]0;a title without end", "0;a title without end"),
        ("\x1b[31", "31"),
        ("the end\x1b", "the end"),
        ("bell\x07 nul\x00 back\x08", "bell\\x07 nul\\x00 back\\x08"),
        ("10 %\r 50 %\r100 %", "100 %"),
        ("10 %\r100 %\r", "100 %"),
        ("right to left \u202e", "right to left \\u202e"),
        ("caf\u00e9 \u65e5\u672c\u3000\u8a9e 10\u00a0%", "caf\u00e9 \u65e5\u672c\u3000\u8a9e 10\u00a0%"),
    ],
)
def test_an_app_s_line_becomes_plain_text(text: str, expected: str) -> None:
    assert plain(text) == expected
