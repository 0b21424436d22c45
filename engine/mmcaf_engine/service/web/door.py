"""Who is let in: a program with the token, a browser that has shown it, or anyone here where there is none."""

import math

from fastapi import Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from .context import Context, said
from .sessions import SAFE, is_foreign, is_from_browser, is_meant_for_us

OPEN_TO_ALL = ("/health/live", "/health/ready", "/metrics")
LOGIN = "/login"


def turned_away(context: Context, request: Request) -> Response | None:
    """Why a request is not answered; None where it is.

    What a browser sends by itself, its cookie or nothing at all, is no proof that its user wants something: a change is
    refused that another site's page asks for, or that does not say whose page asks. A token that is shown is proof.
    """
    path = request.url.path
    if path in OPEN_TO_ALL:
        return None
    if (wait_s := context.keeps_waiting_s(request)) > 0:
        refused = said(f"Too many wrong tokens: try again in {wait_s:.0f} s.")
        return JSONResponse(refused, 429, {"Retry-After": f"{math.ceil(wait_s)}"})
    if context.token is None and not is_meant_for_us(request, context.config):
        return JSONResponse(said("Without a token, only this machine is answered, by its own name."), 421)
    if request.method not in SAFE and not context.shows_token(request):
        by_cookie = context.token is not None and path != LOGIN and context.is_logged_in(request)
        if is_foreign(request) or (by_cookie and not is_from_browser(request)):
            return JSONResponse(said("A page of another site asked for this, or nobody says whose did."), 403)
    if path == LOGIN or context.may_ask(request):
        return None
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(LOGIN, 303)
    return JSONResponse(said("A token is needed."), 401, {"WWW-Authenticate": "Bearer"})
