"""HTTP/1.1 without I/O: bytes in, heads and bodies out, and back.  No await, no clock, no socket.

llhttp (httptools) reads the field lines.  Start lines are read here, because llhttp knows only registered methods; and
so are chunks, because llhttp passes over chunk-size lines that other parsers read differently (``5 5``) and does not
say where in its input a message ended.  Requests are read strictly: RFC 9112 section 11.2.  Responses are repaired if
they can be read in one way only.

- ``fields``: field lines -> (name, value) pairs, and what to do with each name.
- ``start``: where a request's head ends, its request line, and what is no request at all.
- ``target``: whom a request is for.
- ``request``: a request's head, and its serialisation towards the app.
- ``response``: a response's head, and its serialisation towards the client.
- ``repair``: heads of responses that break a rule but leave no doubt.
- ``faults``: what is wrong with field lines, in plain words.
- ``body``, ``chunked``: where a body ends, by its framing.
- ``judge``: whether the proxy can pass on an answer of the app.
"""

from rainbowd.http1.body import NO_BODY, Body, EmptyBody, LengthBody, UntilCloseBody, frame, last_chunk
from rainbowd.http1.chunked import ChunkedBody
from rainbowd.http1.errors import ENDED_EARLY, NO_RESPONSE, BadResponse, OtherProtocol, Refusal
from rainbowd.http1.request import RequestHead, parse_request
from rainbowd.http1.request_line import find_request_head, skip_empty_lines
from rainbowd.http1.response import ResponseHead, read_response
from rainbowd.http1.response_check import ResponseCheck

__all__ = [
    "ENDED_EARLY",
    "NO_BODY",
    "NO_RESPONSE",
    "BadResponse",
    "Body",
    "ChunkedBody",
    "EmptyBody",
    "LengthBody",
    "OtherProtocol",
    "Refusal",
    "RequestHead",
    "ResponseCheck",
    "ResponseHead",
    "UntilCloseBody",
    "find_request_head",
    "frame",
    "last_chunk",
    "parse_request",
    "read_response",
    "skip_empty_lines",
]
