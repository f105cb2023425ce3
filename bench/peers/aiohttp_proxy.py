"""A small proxy on aiohttp's server and client, streaming both ways: ``python aiohttp_proxy.py PORT UPSTREAM_PORT``.

It runs in an environment of its own, so aiohttp is not installed where types are checked.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

aiohttp: Any = importlib.import_module("aiohttp")
web: Any = importlib.import_module("aiohttp.web")

HOST = "127.0.0.1"
HOP_BY_HOP = {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
"""RFC 9110 section 7.6.1."""
HANDSHAKE = {"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"}


def end_to_end(headers: Any, without: set[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in without]


def forwarded(request: Any, without: set[str]) -> list[tuple[str, str]]:
    before = request.headers.get("X-Forwarded-For")
    hops = f"{before}, {request.remote}" if before else request.remote
    return [*end_to_end(request.headers, {*without, "x-forwarded-for"}), ("X-Forwarded-For", hops)]


def handler(upstream_port: int, session: Any) -> Any:
    """What answers every request."""

    async def exchange(request: Any) -> Any:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await tunnel(request)
        async with session.request(
            request.method,
            f"http://{HOST}:{upstream_port}{request.raw_path}",
            headers=forwarded(request, HOP_BY_HOP),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=end_to_end_dict(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def tunnel(request: Any) -> Any:
        url = f"http://{HOST}:{upstream_port}{request.raw_path}"
        async with session.ws_connect(url, headers=forwarded(request, HOP_BY_HOP | HANDSHAKE)) as app:
            client = web.WebSocketResponse()
            await client.prepare(request)
            await asyncio.gather(relay(client, app), relay(app, client))
            return client

    return exchange


def end_to_end_dict(headers: Any) -> Any:
    """As a multidict, since a field such as Set-Cookie may come twice."""
    multidict: Any = importlib.import_module("multidict")
    return multidict.CIMultiDict(end_to_end(headers, HOP_BY_HOP))


async def relay(source: Any, destination: Any) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await destination.send_str(message.data)
        else:
            await destination.send_bytes(message.data)
    await destination.close()


async def serve(port: int, upstream_port: int) -> None:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=600)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler(upstream_port, session))
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=600, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, HOST, port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
