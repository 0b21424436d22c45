"""The pages' addresses: what each reads of the service, and what its forms and buttons do."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from ...errors import MmcafError, printable
from .. import answers, studies, views
from ..actions import Changes
from ..choice import lineups, read_choices
from ..compare import comparisons
from ..condition import deliveries_to, disk_of, processes_of
from ..figures import figures_of
from ..life import NOT_STARTED
from ..patients import person_of
from ..probe import check_destination
from ..records import REFUSED
from ..states import AnswerState
from ..worklist import Order, of_patient, worklist
from .api import WHY_NOT_AGAIN, WHY_NOT_CLOSED, AnswerId, StudyUid, again
from .context import Context, address_of
from .desk import Desk
from .forms import read_form
from .pages.figures import figures_page
from .pages.frame import study_address
from .pages.health import BundleCondition, Condition, health_page
from .pages.login import login_page
from .pages.study import missing_page
from .pages.worklist import found_page, worklist_page
from .sessions import cookie_name, is_secure

SHOWN_PROBLEMS = 20

Form = Annotated[dict[str, str], Depends(read_form)]
Listed = Literal["todo", "received", "complete"] | AnswerState


def router(context: Context) -> APIRouter:
    """The routes of a service; none of them is part of the API."""
    routes = APIRouter(include_in_schema=False)
    desk = Desk(context)

    @routes.get("/")
    def listed(
        request: Request,
        state: Annotated[Listed | None, Query()] = None,
        order: Annotated[Order, Query()] = "last",
        page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    ) -> Response:
        with context.memory() as memory:
            found = worklist(memory, state=state, order=order, page=page)
            people = {one.uid: person_of(memory, context.config.spool, one.uid) for one in found.studies}
        leave = context.is_logged_in(request)
        return worklist_page(found, people, state=state, order=order, at=page, leave=leave)

    @routes.get("/find")
    def find_again() -> Response:
        return RedirectResponse("/", 303)

    @routes.post("/find")
    def find(form: Form, request: Request) -> Response:
        with context.memory() as memory:
            found = of_patient(memory, context.key, form.get("identifier", ""))
            people = {one.uid: person_of(memory, context.config.spool, one.uid) for one in found.studies}
        return found_page(found, people, leave=context.is_logged_in(request))

    @routes.get("/studies/{uid}")
    def study(uid: StudyUid, request: Request) -> Response:
        return desk.show(uid, leave=context.is_logged_in(request))

    @routes.post("/studies/{uid}/close")
    def close(uid: StudyUid, request: Request) -> Response:
        with context.memory() as memory:
            done = studies.close(memory, uid, time.time())
        if done:
            return RedirectResponse(study_address(uid), 303)
        return desk.show(uid, leave=context.is_logged_in(request), said=WHY_NOT_CLOSED, status=409)

    @routes.get("/studies/{uid}/{done}")
    def study_again(uid: StudyUid, done: Literal["record", "close"]) -> Response:
        """The address of what was not done, loaded again."""
        return RedirectResponse(study_address(uid), 303)

    @routes.post("/studies/{uid}/record")
    def give(uid: StudyUid, form: Form, request: Request) -> Response:
        return desk.take_record(uid, form, leave=context.is_logged_in(request))

    @routes.post("/answers/{answer}/retry")
    def retry(answer: AnswerId, form: Form, request: Request) -> Response:
        leave = context.is_logged_in(request)
        try:
            options = Changes.model_validate({name: _plain(value) for name, value in form.items()})
        except ValidationError:
            return _after(context, desk, answer, leave, "No answer can be made with what was typed.", 422)
        done = again(context, answer, options.given)
        return _after(context, desk, answer, leave, None if done else WHY_NOT_AGAIN, 409)

    @routes.post("/answers/{answer}/cancel")
    def cancel(answer: AnswerId, request: Request) -> Response:
        with context.memory() as memory:
            done = answers.cancel(memory, answer, time.time())
        said = None if done else "It has ended, or is under way to an archive."
        return _after(context, desk, answer, context.is_logged_in(request), said, 409)

    @routes.get("/answers/{answer}/{done}")
    def after(answer: AnswerId, done: Literal["retry", "cancel"], request: Request) -> Response:
        """The address of what was not done, loaded again."""
        return _after(context, desk, answer, context.is_logged_in(request), None, 200)

    @routes.get("/figures")
    def figures(request: Request, hours: Annotated[Literal["1", "24", "168"], Query()] = "24") -> Response:
        with context.memory() as memory:
            found = figures_of(memory, int(hours), time.time())
        return figures_page(found, leave=context.is_logged_in(request))

    @routes.get("/health")
    def health(request: Request) -> Response:
        return _health(context, None, context.is_logged_in(request))

    @routes.get("/health/check")
    def health_again() -> Response:
        return RedirectResponse("/health", 303)

    @routes.post("/health/check")
    def check(form: Form, request: Request) -> Response:
        return _health(context, form.get("destination"), context.is_logged_in(request))

    @routes.get("/login")
    def login(request: Request) -> Response:
        return RedirectResponse("/", 303) if context.may_ask(request) else login_page()

    @routes.post("/login")
    def log_in(form: Form, request: Request) -> Response:
        address, shown = address_of(request), form.get("token", "")
        if (wait := context.attempts.wait_s(address)) > 0:
            refused = login_page(f"Too many wrong tokens: try again in {wait:.0f} s.", status=429)
            refused.headers["Retry-After"] = f"{wait:.0f}"
            return refused
        if not context.is_token(shown):
            context.attempts.note(address, shown)
            return login_page("That is not the token.", status=403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            cookie_name(context.config),
            context.sessions.open(),
            path="/",
            secure=is_secure(context.config),
            httponly=True,
            samesite="strict",
        )
        return answer

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        name = cookie_name(context.config)
        context.sessions.close(request.cookies.get(name))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(name, path="/", secure=is_secure(context.config), httponly=True, samesite="strict")
        return answer

    return routes


def _after(context: Context, desk: Desk, answer: int, leave: bool, said: str | None, status: int) -> Response:
    """Where a button leads: to the study's page, with why nothing was done where that is so."""
    with context.memory() as memory:
        found = views.find_answer(memory, answer)
    if found is None:
        return missing_page(leave)
    if said is None:
        return RedirectResponse(study_address(found.study), 303)
    return desk.show(found.study, leave=leave, said=f"The answer is {found.state}. {said}", status=status)


def _plain(value: str) -> Any:
    """Of what a form can send, false is the only value that is no text."""
    return False if value == "false" else value.strip()


def _health(context: Context, asked: str | None, leave: bool) -> Response:
    config = context.config
    findings = {one.name: check_destination(config, one) for one in config.destination if one.name == asked}
    with context.memory() as memory:
        shadows = {
            shadow: line.answers for line in lineups(config, read_choices(memory)).values() for shadow in line.shadows
        }
        processes, destinations = processes_of(memory, config), deliveries_to(memory, config)
        told = views.newest_events(memory, REFUSED, NOT_STARTED, limit=SHOWN_PROBLEMS)
        compared = comparisons(memory, config, listed=0)
    ready = {one.role for one in processes if one.ready}
    names = [one.name for one in config.bundle]
    bundles = [
        BundleCondition(name, shadows.get(name), f"runner {name}" in ready, _what(context, name)) for name in names
    ]
    return health_page(
        Condition(processes, bundles, disk_of(config), destinations, told, compared), leave=leave, findings=findings
    )


def _what(context: Context, bundle: str) -> str:
    try:
        found = context.bundles.get(bundle)
    except MmcafError as refusal:
        return refusal.problem
    version = found.manifest.version
    return printable(f"{found.manifest.name}{f' {version}' if version else ''}, SHA-256 {found.sha256[:16]}", 200)
