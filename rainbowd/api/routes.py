"""The endpoints of the API: what each accepts, and what it returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from rainbowd import __version__
from rainbowd.api.event_stream import EventStreams
from rainbowd.api.page import read_page
from rainbowd.api.params import read_count, read_fields, read_flag, read_note, read_query, read_time
from rainbowd.api.problems import encode, problem
from rainbowd.errors import Declined, RainbowdError
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events
from rainbowd.report.status import FORMAT

if TYPE_CHECKING:
    from starlette.requests import Request

    from rainbowd.api.backend import ApiBackend
    from rainbowd.api.load_samples import LoadSampler
    from rainbowd.api.metrics import Metrics
    from rainbowd.report.outcome import Outcome, RequestedDeploy

OPENAPI = Path(__file__).with_name("openapi.json")
HISTORY_DEFAULT, HISTORY_MAX = 20, 1000
OK, ACCEPTED, NOT_FOUND, UNPROCESSABLE, UNAVAILABLE = 200, 202, 404, 422, 503


def make_app(backend: ApiBackend, metrics: Metrics, load: LoadSampler, stop: trio.Event) -> Starlette:
    """Return the API without its guard.

    Args:
        backend: the agent.
        metrics: collects the metrics.
        load: the load of the last hour.
        stop: event streams end when it is set.
    """
    endpoints = Endpoints(backend, metrics, load)
    app = Starlette(
        routes=[
            Route("/", endpoints.page, methods=["GET"]),
            Route("/redeploy", endpoints.redeploy, methods=["POST"]),
            Route("/rollback", endpoints.rollback, methods=["POST"]),
            Route("/status", endpoints.status, methods=["GET"]),
            Route("/history", endpoints.history, methods=["GET"]),
            Route("/events", EventStreams(backend, stop), methods=["GET"]),
            Route("/load", endpoints.load, methods=["GET"]),
            Route("/fleet", endpoints.fleet, methods=["GET"]),
            Route("/metrics", endpoints.metrics, methods=["GET"]),
            Route("/openapi.json", endpoints.openapi, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_problem, Declined: _declined, RainbowdError: _unavailable},
    )
    app.router.redirect_slashes = False
    return app


class Endpoints:
    """The endpoints as methods, one for each path."""

    def __init__(self, backend: ApiBackend, metrics: Metrics, load: LoadSampler) -> None:
        self._backend = backend
        self._metrics = metrics
        self._load = load
        self._page, self._page_fields = read_page()
        description = json.loads(OPENAPI.read_bytes())
        description["info"]["version"] = __version__
        self._openapi = encode(description)
        self._disk = trio.CapacityLimiter(2)

    async def page(self, _request: Request) -> Response:
        """``GET /``: the page for browsers, which contains no data."""
        return Response(self._page, headers=self._page_fields, media_type="text/html; charset=utf-8")

    async def redeploy(self, request: Request) -> Response:
        """``POST /redeploy``."""
        is_waited_for = read_flag(read_query(request, ["wait"]), "wait")
        fields = await read_fields(request, {"release", "note", "now"}, flag="now")
        deploy = await self._backend.redeploy(
            fields.get("release"), read_note(fields), request.scope.get("caller"), "now" in fields
        )
        return await self._answer(deploy, is_waited_for=is_waited_for)

    async def rollback(self, request: Request) -> Response:
        """``POST /rollback``."""
        is_waited_for = read_flag(read_query(request, ["wait"]), "wait")
        note = read_note(await read_fields(request, {"note"}))
        deploy = await self._backend.rollback(note, request.scope.get("caller"))
        return await self._answer(deploy, is_waited_for=is_waited_for)

    async def _answer(self, deploy: RequestedDeploy, *, is_waited_for: bool) -> Response:
        """Return the deploy's id, or its outcome, once that is also in the journal and in status.json."""
        outcome = await deploy.outcome() if is_waited_for else None
        await self._backend.settle()
        return _json({"deploy": deploy.id}, ACCEPTED) if outcome is None else _outcome(deploy.id, outcome)

    async def status(self, request: Request) -> Response:
        """``GET /status``."""
        read_query(request)
        return _json({"format": FORMAT, **self._backend.status()})

    async def history(self, request: Request) -> Response:
        """``GET /history``."""
        count = read_count(read_query(request, ["n"]), "n", default=HISTORY_DEFAULT, most=HISTORY_MAX)
        state_dir = self._backend.state_dir
        found = await trio.to_thread.run_sync(lambda: deploys(read_events(state_dir, "deploy.")), limiter=self._disk)
        return _json(found[:count])

    async def load(self, request: Request) -> Response:
        """``GET /load``."""
        return _json(self._load.after(read_time(read_query(request, ["after"]), "after")))

    async def fleet(self, request: Request) -> Response:
        """``GET /fleet``: the fleet as this machine sees it."""
        read_query(request)
        found = self._backend.sources.fleet()
        return problem(NOT_FOUND, "This machine is in no fleet.") if found is None else _json(found)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``: in the format that the scraper accepts."""
        read_query(request)
        encode_metrics, media_type = choose_encoder(request.headers.get("accept", ""))
        self._metrics.usage = await trio.to_thread.run_sync(self._backend.sources.usage, limiter=self._disk)
        return Response(encode_metrics(self._metrics.registry), media_type=media_type)

    async def openapi(self, _request: Request) -> Response:
        """``GET /openapi.json``."""
        return Response(self._openapi, media_type="application/json")


def _outcome(deploy: str, outcome: Outcome) -> Response:
    """Return the outcome of the deploy with that id as a response."""
    body: dict[str, Any] = {
        "deploy": deploy,
        "result": outcome.result,
        "generation": outcome.generation,
        "release": outcome.release,
    }
    if outcome.result != "failed":
        return _json(body)
    body |= {"reason": outcome.reason, "output": list(outcome.output)}
    return problem(UNPROCESSABLE, f"The deploy failed: {outcome.reason}", extra=body)


def _json(value: object, status: int = OK) -> Response:
    return Response(encode(value), status, media_type="application/json")


async def _http_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {404: "Not found.", 405: "Method not allowed."}
    return problem(error.status_code, details.get(error.status_code, error.detail), headers=error.headers)


async def _declined(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Declined)
    return problem(error.status, str(error))


async def _unavailable(_request: Request, error: Exception) -> Response:
    return problem(UNAVAILABLE, str(error))
