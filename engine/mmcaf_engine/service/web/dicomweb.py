"""`/dicom-web`: images in by STOW-RS; what is held by QIDO-RS and WADO-RS (PS3.18 10.4 to 10.6)."""

import asyncio
import json
import secrets
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response

from ...errors import printable
from .context import Context, said
from .uploads import Uploaded, parts_of, take

SOURCE = "stow"
JSON_TYPE = "application/dicom+json"
FAILED, REASON, STORED = "00081198", "00081197", "00081199"
CLASS, INSTANCE, STUDY, SERIES, NUMBER = "00081150", "00081155", "0020000D", "0020000E", "00201208"
OUT_OF_RESOURCES, CANNOT_UNDERSTAND, DUPLICATE = 0xA700, 0xC000, 0x0111
"""Failure Reason (0008,1197), PS3.18 table 10.5.3-2 and PS3.7 annex C."""
_OTHER_PARAMETERS = ("limit", "offset", "includefield", "fuzzymatching")
"""Of a search, besides what is matched (PS3.18 8.3.4)."""

Uid = Annotated[str, Path(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]


def router(context: Context) -> APIRouter:
    """The routes of a service."""
    routes = APIRouter(prefix="/dicom-web")

    @routes.post("/studies", summary="STOW-RS: store instances")
    async def store(request: Request, content_type: Annotated[str, Header()] = "") -> Response:
        return await _store(context, await request.body(), content_type, None)

    @routes.post("/studies/{study}", summary="STOW-RS: store instances of one study")
    async def store_in(study: Uid, request: Request, content_type: Annotated[str, Header()] = "") -> Response:
        return await _store(context, await request.body(), content_type, study)

    @routes.get("/studies", summary="QIDO-RS: which studies are held")
    def studies(
        request: Request,
        uid: Annotated[str | None, Query(alias="StudyInstanceUID", max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> Response:
        _refuse_unknown(request, "StudyInstanceUID")
        with context.memory() as memory:
            rows = memory.execute(
                "select study, count(*) as number from instance where file <> '' and (? is null or study = ?) "
                "group by study order by study limit ? offset ?",
                (uid, uid, limit, offset),
            ).fetchall()
        found = [{STUDY: _text("UI", row["study"]), NUMBER: _number("IS", row["number"])} for row in rows]
        return _json(found)

    @routes.get("/studies/{study}/instances", summary="QIDO-RS: which instances of a study are held")
    def instances(
        study: Uid,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 100_000,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> Response:
        _refuse_unknown(request)
        with context.memory() as memory:
            rows = memory.execute(
                "select * from instance where study = ? and file <> '' order by series, uid limit ? offset ?",
                (study, limit, offset),
            ).fetchall()
        names = {"00080016": "sop_class", "00080018": "uid", STUDY: "study", SERIES: "series"}
        return _json([{tag: _text("UI", row[name]) for tag, name in names.items()} for row in rows])

    @routes.get("/studies/{study}", summary="WADO-RS: every instance of a study")
    def retrieve_study(study: Uid) -> Response:
        return _retrieve(context, study, None)

    @routes.get("/studies/{study}/series/{series}/instances/{instance}", summary="WADO-RS: one instance")
    def retrieve(study: Uid, series: Uid, instance: Uid) -> Response:
        return _retrieve(context, study, (series, instance))

    return routes


async def _store(context: Context, content: bytes, content_type: str, study: str | None) -> Response:
    """200 all stored, 202 some, 409 none; each with its reason."""
    parts = parts_of(content, content_type)

    def keep() -> list[Uploaded]:
        return [
            take(context, body, SOURCE, study)
            if kind.split(";")[0].strip() in ("application/dicom", "")
            else _other_kind(kind)
            for kind, body in parts
        ]

    found = await asyncio.to_thread(keep)
    stored, failed = [one for one in found if one.kept], [one for one in found if not one.kept]
    answer: dict[str, Any] = {}
    if stored:
        answer[STORED] = _items([_reference(one) for one in stored])
    if failed:
        answer[FAILED] = _items([{**_reference(one), REASON: _number("US", _reason(one))} for one in failed])
    status = 200 if not failed else 202 if stored else 409
    return Response(json.dumps(answer), status, media_type=JSON_TYPE)


def _refuse_unknown(request: Request, *matched: str) -> None:
    """What cannot be matched is refused: else a search for one patient would find everybody's studies.

    Raises:
        HTTPException: it asks for something else.
    """
    if unknown := sorted(set(request.query_params) - {*matched, *_OTHER_PARAMETERS}):
        known = ", ".join((*matched, "limit", "offset"))
        raise HTTPException(400, said(f"{printable(unknown[0], 64)} cannot be asked for; {known} can."))


def _retrieve(context: Context, study: str, one: tuple[str, str] | None) -> Response:
    """As multipart/related; an instance that another answer has changed since never is."""
    series, instance = one or (None, None)
    with context.memory() as memory:
        rows = memory.execute(
            "select file from instance where study = ? and file <> '' and (? is null or (series = ? and uid = ?)) "
            "order by series, uid",
            (study, instance, series, instance),
        ).fetchall()
    files = [FilePath(context.config.spool, row["file"]) for row in rows]
    contents = [file.read_bytes() for file in files if file.is_file()]
    if not contents:
        raise HTTPException(404, said("No such instance is held."))
    mark = secrets.token_hex(16)
    head = f"\r\n--{mark}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + content for content in contents) + f"\r\n--{mark}--\r\n".encode()
    return Response(body, media_type=f'multipart/related; type="application/dicom"; boundary={mark}')


def _other_kind(kind: str) -> Uploaded:
    return Uploaded(None, None, None, None, f"A part is of the type {kind[:60]!r}; application/dicom is taken.")


def _reference(one: Uploaded) -> dict[str, Any]:
    return {CLASS: _text("UI", one.sop_class), INSTANCE: _text("UI", one.uid)}


def _reason(one: Uploaded) -> int:
    if one.full:
        return OUT_OF_RESOURCES
    return CANNOT_UNDERSTAND if one.uid is None or one.misled else DUPLICATE


def _items(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}


def _text(vr: str, value: str | None) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value else {"vr": vr}


def _number(vr: str, value: int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _json(found: list[dict[str, Any]]) -> Response:
    return Response(json.dumps(found), media_type=JSON_TYPE) if found else Response(status_code=204)
