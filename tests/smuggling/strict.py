"""A second opinion: a reader of requests by RFC 9112 without one leniency, and two of responses.

It shares no code with the proxy, and raises where two readers could differ.  What clients get is read strictly, what
apps send with the leniencies that nginx, HAProxy and Caddy have in common.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TCHAR = rb"!#$%&'*+.^_`|~0-9A-Za-z-"
_REQUEST_LINE = re.compile(rb"([" + TCHAR + rb"]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(
    rb"([" + TCHAR + rb"]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=\x80-\xff-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])"
    rb"(?::[0-9]{0,5})?"
)
_VALUE = rb"(?:[" + TCHAR + rb']+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*")'
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*[" + TCHAR + rb"]+(?:[ \t]*=[ \t]*" + _VALUE + rb")?)*")

_LOOSE_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] +([1-9][0-9]{2})(?: [^\x00\r\n]*)?")
_LOOSE_FIELD = re.compile(rb"([" + TCHAR + rb"]{1,256}):([^\x00\r\n]*)")
_LOOSE_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_CONTROLS = bytes([*range(1, 9), *range(10, 32), 127])


class Ambiguous(Exception):
    """Two readers could differ."""


class Unfinished(Exception):
    """The bytes end before the message does."""


@dataclass
class Read:
    """One message."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""

    @property
    def method(self) -> bytes:
        """Of a request."""
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        """Of a request, in origin form."""
        target = self.line.split(b" ")[1]
        return re.sub(rb"(?i)^https?://[^/?#]*", b"", target) or b"/"

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.line.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        """The values of the fields called ``name``, in lower case."""
        return [value for key, value in self.fields if key.lower() == name]


class Reader:
    """Bytes, and how far they were read."""

    chunk_line = _CHUNK_LINE

    def trailer(self, line: bytes) -> None:
        """See that it can be read."""
        self._field(line)

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def request(self) -> Read:
        """The next request."""
        while self.data.startswith(b"\r\n", self.at):
            self.at += 2
        line, fields = self._head()
        match = _REQUEST_LINE.fullmatch(line)
        if match is None or match[1] == b"CONNECT":
            raise Ambiguous(line)
        read = Read(line, fields)
        self._check_host(read, match[3] != b"0")
        codings, lengths = read.all(b"transfer-encoding"), read.all(b"content-length")
        if codings and (match[3] == b"0" or lengths or [c.lower() for c in codings] != [b"chunked"]):
            raise Ambiguous(fields)
        read.body = self._chunks() if codings else self._sized(lengths)
        return read

    def response(self, method: bytes) -> Read:
        """The next response, to a request of ``method``."""
        line, fields = self._head()
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise Ambiguous(line)
        read = Read(line, fields)
        codings, lengths = read.all(b"transfer-encoding"), read.all(b"content-length")
        if codings and (lengths or [c.lower() for c in codings] != [b"chunked"]):
            raise Ambiguous(fields)
        if method == b"HEAD" or read.status < 200 or read.status in {204, 304}:
            if lengths:
                self._length(lengths)
        elif codings:
            read.body = self._chunks()
        elif lengths:
            read.body = self._sized(lengths)
        else:
            read.body, self.at = self.data[self.at :], len(self.data)
        return read

    def _head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        lines = []
        while line := self._line():
            lines.append(line)
        if not lines:
            raise Ambiguous(b"an empty head")
        return lines[0], [self._field(line) for line in lines[1:]]

    def _line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Unfinished
        line = self.data[self.at : end]
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Ambiguous(line)
        self.at = end + 1
        return line[:-1]

    @staticmethod
    def _field(line: bytes) -> tuple[bytes, bytes]:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Ambiguous(line)
        return match[1], match[2]

    @staticmethod
    def _check_host(read: Read, required: bool) -> None:
        hosts = read.all(b"host")
        if not required and hosts == [b""]:
            hosts = []
        if len(hosts) > 1 or (required and not hosts) or not all(map(_HOST.fullmatch, hosts)):
            raise Ambiguous(hosts)
        target = read.line.split(b" ")[1]
        named = re.match(rb"(?i)https?://([^/?#]*)", target)
        port = b":443" if target[:6].lower() == b"https:" else b":80"
        if named and hosts and _authority(named[1], port) != _authority(hosts[0], port):
            raise Ambiguous(target)
        if not named and target[:1] != b"/" and (target != b"*" or read.method != b"OPTIONS"):
            raise Ambiguous(target)

    @staticmethod
    def _length(lengths: list[bytes]) -> int:
        if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise Ambiguous(lengths)
        return int(lengths[0])

    def _sized(self, lengths: list[bytes]) -> bytes:
        return self._take(self._length(lengths)) if lengths else b""

    def _take(self, count: int) -> bytes:
        data = self.data[self.at : self.at + count]
        if len(data) < count:
            raise Unfinished
        self.at += count
        return data

    def _chunks(self) -> bytes:
        body = b""
        while True:
            line = self._line()
            match = self.chunk_line.fullmatch(line)
            if match is None:
                raise Ambiguous(line)
            size = int(match[1], 16)
            if size == 0:
                while line := self._line():
                    self.trailer(line)
                return body
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise Ambiguous(b"a chunk's end")


class LooseReader(Reader):
    """A reader of responses, which the proxy writes again: RFC 9112 sections 2.2, 5 and 6.3 allow more there."""

    chunk_line = _LOOSE_CHUNK_LINE

    def trailer(self, line: bytes) -> None:
        """See that it can be read."""
        self._loose_field(line)

    def response(self, method: bytes) -> Read:
        """The next response, to a request of ``method``."""
        lines = self._loose_lines()
        match = _LOOSE_STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise Ambiguous(lines[0])
        read = Read(b"HTTP/1.1 " + match[1], [self._loose_field(line) for line in lines[1:]])
        codings = [coding.lower() for coding in read.all(b"transfer-encoding")]
        lengths = {value.strip(b" \t") for field in read.all(b"content-length") for value in field.split(b",")}
        if codings not in ([], [b"chunked"]) or len(lengths) > 1:
            raise Ambiguous(read.fields)
        length = self._length(list(lengths)) if lengths else 0
        if method == b"HEAD" or read.status < 200 or read.status in {204, 304}:
            pass
        elif codings:
            read.body = self._chunks()
        elif lengths:
            read.body = self._take(length)
        else:
            read.body, self.at = self.data[self.at :], len(self.data)
        return read

    def _loose_lines(self) -> list[bytes]:
        lines: list[bytes] = []
        while True:
            end = self.data.find(b"\n", self.at)
            if b"\x00" in self.data[self.at : end if end >= 0 else None]:
                raise Ambiguous(self.data[self.at :])
            if end < 0:
                raise Unfinished
            line = self.data[self.at : end].removesuffix(b"\r")
            self.at = end + 1
            if b"\r" in line or not (line or lines):
                raise Ambiguous(line)
            if not line:
                return lines
            lines.append(line)

    @staticmethod
    def _loose_field(line: bytes) -> tuple[bytes, bytes]:
        match = _LOOSE_FIELD.fullmatch(line)
        if match is None:
            raise Ambiguous(line)
        value = match[2].translate(bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS)))
        if value != match[2] and match[1].lower() in {
            b"content-length",
            b"transfer-encoding",
            b"connection",
            b"upgrade",
        }:
            raise Ambiguous(line)
        return match[1], value.strip(b" \t")


def _authority(host: bytes, port: bytes) -> bytes:
    return host.lower().removesuffix(port).removesuffix(b":")


def read_requests(data: bytes) -> tuple[list[Read], bool]:
    """All whole requests, and whether they end where the data does, or where more of one is to come."""
    reader, requests = Reader(data), []
    try:
        while reader.data[reader.at :].strip(b"\r\n"):
            requests.append(reader.request())
    except Ambiguous:
        return requests, False
    except Unfinished:
        pass
    return requests, True
