"""HTTP/1.1 without I/O: parses heads and bodies from bytes, and serialises them.  No await, no clock, no socket.

llhttp (httptools) validates the field lines.  Request lines and status lines are parsed here, because llhttp accepts
only registered methods.  Chunks are parsed here, because llhttp accepts chunk-size lines that other parsers read
differently (``5 5``), and does not report where in its input a message ended.  Requests are parsed strictly: RFC 9112
section 11.2.  Responses that break a rule are repaired if they can be read in one way only.

- ``fields``: splits field lines, and has the rule for each field name.
- ``field_errors``: describes what is wrong with field lines.
- ``request_line``: finds the end of a request's head, parses its request line, and detects other protocols.
- ``target``: the host and the target of a request.
- ``request``: parses a request's head, and serialises it for the app.
- ``response``: parses a response's head, and serialises it for the client.
- ``response_repair``: repairs the heads and trailers of responses.
- ``response_check``: checks for health checks whether the proxy could relay a response.
- ``body``, ``chunked``: find the end of a body, and decode it.
- ``errors``: the reasons to refuse a message.
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
