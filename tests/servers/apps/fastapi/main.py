"""A FastAPI application."""

import asyncio
import hashlib
import os

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

GENERATION = os.environ.get("RAINBOWD_GENERATION", "0")

app = FastAPI()


@app.middleware("http")
async def tell_generation(request: Request, call_next):
    response = await call_next(request)
    response.headers["X-Generation"] = GENERATION
    return response


@app.get("/")
@app.get("/up")
async def up():
    return "up"


@app.get("/slow")
async def slow():
    await asyncio.sleep(0.3)
    return "slow"


@app.get("/stream")
async def stream():
    async def lines():
        for number in range(10):
            yield f"{number}\n"
            await asyncio.sleep(0.05)
        yield "end\n"

    return StreamingResponse(lines())


@app.post("/echo")
async def echo(request: Request):
    body = await request.body()
    return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@app.websocket("/ws")
async def talk(websocket: WebSocket):
    await websocket.accept(headers=[(b"x-generation", GENERATION.encode())])
    try:
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())
    except WebSocketDisconnect:
        pass
