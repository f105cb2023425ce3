"""HTTP/1.1 without I/O: bytes in, heads and bodies out, and back.  No await, no clock, no socket.

llhttp (httptools) reads the field lines.  Start lines are read here, because llhttp knows only registered methods; and
so are chunks, because llhttp passes over chunk-size lines that other parsers read differently (``5 5``) and does not
say where in its input a message ended.  What is refused here never reaches the app: RFC 9112 section 11.2.

- ``fields``: field lines -> (name, value) pairs, and what to do with each name.
- ``request``: a request's head, and its serialisation towards the app.
- ``response``: a response's head, and its serialisation towards the client.
- ``body``: where a body ends, by its framing.
- ``judge``: whether the proxy can pass on an answer of the app.
"""

from rainbowd.http1.body import NO_BODY, Body, ChunkedBody, EmptyBody, LengthBody, UntilCloseBody, frame, last_chunk
from rainbowd.http1.errors import BadResponse, Refusal
from rainbowd.http1.judge import Judge
from rainbowd.http1.request import RequestHead, find_request_head, parse_request, skip_empty_lines
from rainbowd.http1.response import ResponseHead, find_response_head, parse_response

__all__ = [
    "NO_BODY",
    "BadResponse",
    "Body",
    "ChunkedBody",
    "EmptyBody",
    "Judge",
    "LengthBody",
    "Refusal",
    "RequestHead",
    "ResponseHead",
    "UntilCloseBody",
    "find_request_head",
    "find_response_head",
    "frame",
    "last_chunk",
    "parse_request",
    "parse_response",
    "skip_empty_lines",
]
