"""The service's HTTP interface as one application, and the process that serves it."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse

from ...errors import MmcafError, ServiceError
from ..disk import is_full
from ..tls import server_context
from . import api, dicomweb, events, health, site
from .context import Context, refusal, said
from .door import turned_away

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Next = Callable[[Request], Awaitable[Response]]


def application(context: Context) -> FastAPI:
    """Every route of the service; refusals are JSON with problem, remedies and exit code."""
    made = FastAPI(title="mmcaf serve", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    for part in (api, events, dicomweb, health, site):
        made.include_router(part.router(context))
    most = context.config.http.most_bytes if context.config.http is not None else 0

    @made.middleware("http")
    async def guard(request: Request, go_on: Next) -> Response:
        answer = turned_away(context, request)
        if answer is None and _is_too_long(request, most):
            answer = JSONResponse(said(f"At most {most} bytes are taken at once, and their number must be said."), 413)
        if answer is None:
            answer = await go_on(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @made.exception_handler(MmcafError)
    async def refused(_: Request, failure: Exception) -> Response:
        status, body = refusal(failure) if isinstance(failure, MmcafError) else (500, said("A bug.", 1))
        return JSONResponse(body, status)

    @made.exception_handler(HTTPException)
    async def stopped(_: Request, failure: Exception) -> Response:
        detail: Any = getattr(failure, "detail", "")
        body = detail if isinstance(detail, dict) else said(str(detail))
        return JSONResponse(body, getattr(failure, "status_code", 500), getattr(failure, "headers", None))

    @made.exception_handler(RequestValidationError)
    async def wrong(_: Request, failure: Exception) -> Response:
        """What was wrong with which argument, without its value, which may be a patient's."""
        errors = failure.errors() if isinstance(failure, RequestValidationError) else []
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors[:4])
        return JSONResponse(said(told or "The request cannot be understood."), 422)

    @made.exception_handler(OSError)
    @made.exception_handler(sqlite3.Error)
    async def full(request: Request, failure: Exception) -> Response:
        if not is_full(failure):
            return await bug(request, failure)
        log.warning("a request was refused: the disk is full")
        return JSONResponse(said("The service's disk is full.", ServiceError.exit_code), 507)

    @made.exception_handler(Exception)
    async def bug(_: Request, failure: Exception) -> Response:
        log.error("a bug: %s", type(failure).__name__)
        return JSONResponse(said(f"A bug of mmcaf-infer: {type(failure).__name__}.", 1), 500)

    return made


def http_server(context: Context) -> "uvicorn.Server":
    """What serves the application; `run` it in a thread, and set `should_exit` to end it.

    Raises:
        ServiceError: a certificate cannot be read.
    """
    import uvicorn

    http = context.config.http
    if http is None:
        raise ValueError("there is no HTTP interface")
    secured = None if http.tls is None else server_context(http.tls)
    settings = uvicorn.Config(
        application(context),
        http.host,
        http.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
    )
    settings.load()
    settings.ssl = secured  # Uvicorn's own would take suites that BCP 195 does not.
    return uvicorn.Server(settings)


def _is_too_long(request: Request, most: int) -> bool:
    """Whether a body is longer than what is taken, or does not say how long it is."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return False
    length = request.headers.get("content-length", "")
    return not length.isdecimal() or len(length) > 15 or int(length) > most
