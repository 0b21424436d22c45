"""`/api/v1`: studies and records in, states and results out, and what a person may do about them."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, HTTPException, Path, Query, Request, Response

from ...errors import RecordError, StudyError
from ...page.document import policy_of
from ...record.document import MAX_RECORD_BYTES
from .. import answers, studies, views
from ..actions import Changes
from ..bundle_views import bundle_views
from ..life import NOT_STARTED
from ..records import REFUSED, find_record, keep_record, read_given, tell_refused
from ..states import AnswerState
from .context import Context, said
from .uploads import Uploaded, files_of_zip, take

SOURCE = "http"
PAGE = "answer"
MEDIA = {"result": "application/json", "fhir": "application/fhir+json", PAGE: "text/html; charset=utf-8"}
"""Kind of a frozen object -> its media type; all others are DICOM."""

WHY_NOT_AGAIN = "It has not ended, not all images of its study are here, or it is written and would change."
WHY_NOT_CLOSED = "Nothing is waited for: it is whole, or its images are still coming in."

StudyUid = Annotated[str, Path(max_length=256, description="StudyInstanceUID (0020,000D).")]
AnswerId = Annotated[int, Path(ge=1, le=2**53)]


def router(context: Context) -> APIRouter:
    """The routes of a service."""
    routes = APIRouter(prefix="/api/v1")

    @routes.post("/studies", summary="Send images: one DICOM file, or a zip of them")
    async def upload(
        request: Request, response: Response, content_type: Annotated[str, Header()] = "application/dicom"
    ) -> dict[str, Any]:
        content = await request.body()
        is_zip = content[:4] in (b"PK\x03\x04", b"PK\x05\x06") or content_type.startswith("application/zip")

        def keep() -> list[Uploaded]:
            taken: list[Uploaded] = []
            try:
                for one in files_of_zip(content) if is_zip else [content]:
                    taken.append(take(context, one, SOURCE))
            except StudyError as failure:  # Of a zip whose first files were fine, and are kept.
                if not taken:
                    raise
                taken.append(Uploaded(None, None, None, None, failure.problem))
            return taken

        found = await asyncio.to_thread(keep)
        if any(one.full for one in found):
            response.status_code = 507
        elif not any(one.kept for one in found):
            response.status_code = 422
        return {
            "studies": sorted({one.study for one in found if one.study and one.kept}),
            "kept": sum(one.kept is not None for one in found),
            "refused": [{"uid": one.uid, "reason": one.reason} for one in found if one.kept is None],
        }

    @routes.get("/studies", summary="The newest studies, with their answers")
    def listed(
        state: Annotated[Literal["received", "complete"] | AnswerState | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=views.MOST_LISTED)] = 100,
        before: Annotated[float | None, Query(ge=0, le=1e11)] = None,
    ) -> list[dict[str, Any]]:
        with context.memory() as memory:
            return [asdict(one) for one in views.list_studies(memory, state=state, limit=limit, before=before)]

    @routes.get("/studies/{uid}", summary="One study, with the answers of all its generations")
    def study(uid: StudyUid) -> dict[str, Any]:
        with context.memory() as memory:
            found = views.find_study(memory, uid)
        if found is None:
            raise HTTPException(404, said("No study of this UID has come."))
        return asdict(found)

    @routes.post("/records", summary="Give a record; the studies of its patient or order that wait for one are queued")
    async def record(request: Request, author: Annotated[str, Query(max_length=200)] = "") -> dict[str, Any]:
        return await _keep_record(context, await request.body(), author, None)

    @routes.post("/studies/{uid}/record", summary="Give the record of one study")
    async def record_of(
        uid: StudyUid, request: Request, author: Annotated[str, Query(max_length=200)] = ""
    ) -> dict[str, Any]:
        return await _keep_record(context, await request.body(), author, uid)

    @routes.post("/studies/{uid}/close", summary="Nothing more comes of it: do not wait for what is missing")
    def close(uid: StudyUid) -> dict[str, Any]:
        with context.memory() as memory:
            done = studies.close(memory, uid, time.time())
            found = views.find_study(memory, uid)
        if found is None:
            raise HTTPException(404, said("No study of this UID has come."))
        if not done:
            raise HTTPException(409, said(WHY_NOT_CLOSED))
        return asdict(found)

    @routes.get("/answers/{answer}", summary="One answer")
    def one_answer(answer: AnswerId) -> dict[str, Any]:
        with context.memory() as memory:
            found = views.find_answer(memory, answer)
        if found is None:
            raise HTTPException(404, said("There is no such answer."))
        return asdict(found)

    @routes.get("/answers/{answer}/{kind}", summary="result, fhir, answer (a page), structured-report, ...")
    def frozen(
        answer: AnswerId, kind: Annotated[str, Path(pattern=r"^[a-z]+(-[a-z]+)*(-[0-9]+)?$", max_length=60)]
    ) -> Response:
        with context.memory() as memory:
            file = views.object_file(memory, context.config.spool, answer, kind)
        if file is None or not file.is_file():
            raise HTTPException(404, said("The answer has no such object, or it was removed."))
        content = file.read_bytes()
        headers = {}
        if kind == PAGE:
            rules = policy_of(content.decode("utf-8", "replace"))
            headers["Content-Security-Policy"] = f"{rules}; frame-ancestors 'none'; sandbox"
        return Response(content, media_type=MEDIA.get(kind, "application/dicom"), headers=headers)

    @routes.post("/answers/{answer}/cancel", summary="Do not answer it")
    def cancel(answer: AnswerId) -> dict[str, Any]:
        with context.memory() as memory:
            done = answers.cancel(memory, answer, time.time())
        return _changed(context, answer, done, "It has ended, or is under way to an archive.")

    @routes.post("/answers/{answer}/retry", summary="Answer it again, or send it again where it was written")
    def retry(
        answer: AnswerId,
        hours: Annotated[float, Body(ge=0.01, le=24 * 365)] = 72,
        options: Annotated[Changes | None, Body()] = None,
    ) -> dict[str, Any]:
        changes = {} if options is None else options.given
        return _changed(context, answer, again(context, answer, changes, hours), WHY_NOT_AGAIN)

    @routes.get("/problems", summary="The newest records that were refused, and processes that cannot start, and why")
    def problems(limit: Annotated[int, Query(ge=1, le=views.MOST_LISTED)] = 100) -> list[dict[str, Any]]:
        with context.memory() as memory:
            return [asdict(one) for one in views.newest_events(memory, REFUSED, NOT_STARTED, limit=limit)]

    @routes.get("/bundles", summary="Which bundles answer, which are shadows, and how far their answers agree")
    def bundles() -> list[dict[str, Any]]:
        with context.memory() as memory:
            return bundle_views(memory, context.config, time.time())

    return routes


def again(context: Context, answer: int, options: Mapping[str, Any], hours: float = 72) -> bool:
    """What a person asks for: `answers.retry`, with the newest record."""
    now = time.time()
    with context.memory() as memory:
        found = views.find_answer(memory, answer)
        record = None if found is None else find_record(memory, found.study)
        return answers.retry(memory, answer, now, now + hours * 3600, record, options)


async def _keep_record(context: Context, content: bytes, author: str, study: str | None) -> dict[str, Any]:
    if len(content) > MAX_RECORD_BYTES:
        raise HTTPException(413, said(f"A record has at most {MAX_RECORD_BYTES} bytes."))

    def keep() -> tuple[int, list[int]]:
        given = read_given(content, context.key)
        with context.memory() as memory:
            if study is not None and views.find_study(memory, study) is None:
                raise HTTPException(404, said("No study of this UID has come."))
            spool, now = context.config.spool, time.time()
            try:
                return keep_record(memory, spool, given, source=SOURCE, author=author, study=study, now=now)
            except RecordError as refusal:
                tell_refused(memory, refusal.discreet, source=SOURCE, study=study or "", now=now)
                raise

    record, queued = await asyncio.to_thread(keep)
    return {"record": record, "queued": queued}


def _changed(context: Context, answer: int, done: bool, why_not: str) -> dict[str, Any]:
    with context.memory() as memory:
        found = views.find_answer(memory, answer)
    if found is None:
        raise HTTPException(404, said("There is no such answer."))
    if not done:
        raise HTTPException(409, said(f"The answer is {found.state}. {why_not}"))
    return asdict(found)
