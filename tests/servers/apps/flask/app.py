"""A Flask application."""

import hashlib
import os
import time

from flask import Flask, Response, request

app = Flask(__name__)


@app.before_request
def ask_for_a_password():
    if os.environ.get("SHOP_CLOSED") == "yes" and request.authorization is None:
        return "log in first", 401, {"WWW-Authenticate": "Basic"}
    return None


@app.after_request
def tell_generation(response):
    response.headers["X-Generation"] = os.environ.get("RAINBOWD_GENERATION", "0")
    return response


@app.get("/")
@app.get("/up")
def up():
    return "up"


@app.get("/slow")
def slow():
    time.sleep(0.3)
    return "slow"


@app.get("/stream")
def stream():
    def lines():
        for number in range(10):
            yield f"{number}\n"
            time.sleep(0.05)
        yield "end\n"

    return Response(lines())


@app.post("/echo")
def echo():
    body = request.get_data()
    return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
