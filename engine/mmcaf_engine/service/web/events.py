"""What happens in the service, as server-sent events (WHATWG HTML 9.2), for as many readers as a service has."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from .. import views
from .context import Context, said

LOOK_S = 0.5
"""Between two looks for new events."""
HEARTBEAT_S = 15.0
MOST_READERS = 100
AT_ONCE = 200
"""Events that are read for one reader; the next when these have been sent, however slow it is."""


def router(context: Context) -> APIRouter:
    """The route of a service."""
    routes = APIRouter(prefix="/api/v1")
    readers: set[object] = set()

    @routes.get("/events", summary="What happens, as server-sent events; all after Last-Event-ID")
    async def events(request: Request, last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
        if len(readers) >= MOST_READERS:
            raise HTTPException(503, said(f"{MOST_READERS} others read the events already."))
        last = await asyncio.to_thread(_begin, context, last_event_id)
        return StreamingResponse(_told(context, request, last, readers), media_type="text/event-stream")

    return routes


def _begin(context: Context, last_event_id: str | None) -> int:
    """After which event to begin; the newest where none is named, or one that has not happened, as of a lost memory."""
    with context.memory() as memory:
        newest = views.last_event(memory)
    known = last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 16
    return min(int(last_event_id or 0), newest) if known else newest


def _after(context: Context, last: int) -> list[views.EventView]:
    with context.memory() as memory:
        return views.events_after(memory, last, limit=AT_ONCE)


async def _told(context: Context, request: Request, last: int, readers: set[object]) -> AsyncIterator[str]:
    """As they happen, until the reader leaves or its session ends; a comment now and then shows that the line holds."""
    me = object()
    readers.add(me)
    try:
        told = time.monotonic()
        while not await request.is_disconnected() and context.may_ask(request):
            found = await asyncio.to_thread(_after, context, last)
            for one in found:
                last = one.id
                yield f"id: {one.id}\nevent: {one.state}\ndata: {json.dumps(asdict(one))}\n\n"
            if found:
                told = time.monotonic()
            elif time.monotonic() - told >= HEARTBEAT_S:
                told = time.monotonic()
                yield ": here\n\n"
            if len(found) < AT_ONCE:
                await asyncio.sleep(LOOK_S)
    finally:
        readers.discard(me)
