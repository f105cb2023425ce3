from __future__ import annotations

import pytest

from rainbowd.http1.fields import NAME_BYTES, RULE_BY_NAME, TOKENS_BY_VALUE, Rule, is_protected, read_lines


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"A: b"],
        [b"A:b"],
        [b"A: \t b \t"],
        [b"A:"],
        [b"A: b: c"],
        [b"a: 1", b"A: 2", b"a: 1"],
        [b"A: \x80\xff\xe9"],
        [b"A: b\tc"],
        [b"Upgrade: h2c", b"Connection: upgrade"],
    ],
)
def test_lines_are_read_in_order_and_byte_for_byte(lines: list[bytes]) -> None:
    assert read_lines(b"".join(line + b"\r\n" for line in lines) + b"\r\n") == lines


@pytest.mark.parametrize("name", [b"", b"A b", b" A", b"A\t", b"\xe9", b"A\r"])
def test_what_is_no_token_has_no_rule_whatever_let_it_through(name: bytes) -> None:
    with pytest.raises(ValueError, match="name"):
        RULE_BY_NAME[name]


@pytest.mark.parametrize(
    "block",
    [
        b"A: b\n\r\n",
        b"A: b\nC: d\r\n\r\n",
        b"A: b\r\n c\r\n\r\n",
        b"A: b\r\n\tc\r\n\r\n",
        b" A: b\r\n\r\n",
        b"A : b\r\n\r\n",
        b"A\t: b\r\n\r\n",
        b"A b: c\r\n\r\n",
        b": b\r\n\r\n",
        b"A\r\n\r\n",
        b"A\x00: b\r\n\r\n",
        b"A\xe9: b\r\n\r\n",
        b"A(: b\r\n\r\n",
        b"A: b\rc\r\n\r\n",
        b"A: b\x00\r\n\r\n",
        b"A: b\x0b\r\n\r\n",
        b"A: b\x7f\r\n\r\n",
        b"A: b\r\r\n\r\n",
    ],
)
def test_lines_that_parsers_read_differently_are_refused(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_lines(block)


@pytest.mark.parametrize(
    "block",
    [
        b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n",
        b"Content-Length: 1, 1\r\n\r\n",
        b"Content-Length: +1\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x1\r\n\r\n",
        b"Content-Length: 1 1\r\n\r\n",
        b"Content-Length: 1_0\r\n\r\n",
        b"Content-Length: \xb2\r\n\r\n",
        b"Content-Length: 1a\r\n\r\n",
        b"Content-Length:\r\n\r\n",
        b"Content-Length: \t\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_lengths_that_leave_a_doubt_are_refused(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_lines(block)


def test_lines_without_their_end_are_refused() -> None:
    with pytest.raises(ValueError, match="empty line"):
        read_lines(b"A: b\r\n")


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"close", [b"close"]),
        (b"Keep-Alive, Upgrade", [b"keep-alive", b"upgrade"]),
        (b"a ,\tb,, c", [b"a", b"b", b"c"]),
        (b"", []),
        (b",", []),
    ],
)
def test_a_list_is_split_into_tokens_in_lower_case(value: bytes, members: list[bytes]) -> None:
    assert list(TOKENS_BY_VALUE[value]) == members


@pytest.mark.parametrize(
    "name",
    [
        *(b"X_Forwarded_For", b"x-forwarded_proto", b"X_Request_ID", b"Content_Length", b"Transfer_Encoding"),
        *(b"X_Real-IP", b"X.Real.IP", b"Client.IP", b"X.Forwarded.User", b"X!Forwarded!For", b"X~Request-Start"),
    ],
)
def test_a_spelling_that_apps_read_as_a_name_that_is_trusted_is_ambiguous(name: bytes) -> None:
    assert RULE_BY_NAME[name] is Rule.AMBIGUOUS


@pytest.mark.parametrize("name", [b"X_Custom", b"Cookie", b"X-Forwarded", b"Sec-WebSocket-Key", b"_"])
def test_other_names_pass(name: bytes) -> None:
    assert RULE_BY_NAME[name] is None


def test_what_the_app_trusts_cannot_be_nominated() -> None:
    assert all(map(is_protected, (b"host", b"content-length", b"x-forwarded-anything", b"x-request-id", b"forwarded")))
    assert not is_protected(b"cookie")


def test_names_from_strangers_do_not_grow_the_table_without_bound() -> None:
    for number in range(5000):
        assert RULE_BY_NAME[b"X-Stranger-%d" % number] is None
    assert len(RULE_BY_NAME) <= 4096
    assert max(map(len, RULE_BY_NAME)) <= NAME_BYTES
    assert RULE_BY_NAME[b"X_FORWARDED_for"] is Rule.AMBIGUOUS


def test_a_name_is_known_again_after_strangers_filled_the_table() -> None:
    for number in range(5000):
        assert RULE_BY_NAME[b"X-Stranger-%d" % number] is None
    assert RULE_BY_NAME[b"X-Last"] is None
    assert b"X-Last" in RULE_BY_NAME


def test_a_long_name_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="too long"):
            RULE_BY_NAME[b"X" * (NAME_BYTES + 1)]
    assert RULE_BY_NAME[b"X" * NAME_BYTES] is None


def test_values_from_strangers_do_not_grow_the_table_without_bound() -> None:
    for number in range(1000):
        assert TOKENS_BY_VALUE[b"close, X-%d" % number] == (b"close", b"x-%d" % number)
    assert TOKENS_BY_VALUE[b"x" * 60_000] == (b"x" * 60_000,)
    assert sum(map(len, TOKENS_BY_VALUE)) <= 256 * 256


def test_a_list_has_a_limit() -> None:
    assert len(TOKENS_BY_VALUE[b",".join([b"a"] * 32)]) == 32
    with pytest.raises(ValueError, match="too many"):
        TOKENS_BY_VALUE[b",".join([b"a"] * 33)]
