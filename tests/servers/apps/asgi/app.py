"""An ASGI application."""

import asyncio
import hashlib
import json
import os

GENERATION = (b"x-generation", os.environ.get("RAINBOWD_GENERATION", "0").encode())


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await talk(receive, send)
    elif scope["path"] == "/stream":
        await stream(send)
    else:
        await answer(scope["path"], receive, send)


async def talk(receive, send):
    await receive()
    await send({"type": "websocket.accept", "headers": [GENERATION]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


async def stream(send):
    await send({"type": "http.response.start", "status": 200, "headers": [GENERATION]})
    for number in range(10):
        await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"end\n"})


async def answer(path, receive, send):
    body = path.encode()  # "/up" answers as all others do
    if path == "/slow":
        await asyncio.sleep(0.3)
    if path == "/echo":
        received, more = b"", True
        while more:
            message = await receive()
            received += message.get("body", b"")
            more = message.get("more_body", False)
        body = json.dumps({"length": len(received), "sha256": hashlib.sha256(received).hexdigest()}).encode()
    headers = [GENERATION, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
