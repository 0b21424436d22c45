"""One study on its page: what is read for it, and the record that somebody types there."""

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import Response
from fastapi.responses import RedirectResponse

from ...errors import MmcafError, printable
from ...manifest import Manifest
from .. import answers, views
from ..form import check_record, document_of, encoded, entries_of
from ..history import events_of, records_of
from ..patients import person_of
from ..records import keep_record, read_given
from ..runner import RESULT
from ..views import AnswerView, StudyView
from .context import Context
from .pages.frame import study_address
from .pages.record_form import AUTHOR, LONGEST_AUTHOR, SURE, Typed, read_typed, record_form
from .pages.study import Shown, missing_page, study_page

SOURCE = "page"
AGAIN_S = 72 * 3600.0
"""So long a delivery is tried of an answer that is made again."""
MOST_RESULT_BYTES = 16 * 2**20


class Desk:
    """Shows studies, and takes records for them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(
        self, uid: str, *, leave: bool, typed: Typed | None = None, said: str | None = None, status: int = 200
    ) -> Response:
        """The page of a study.

        Args:
            typed: into its form, and refused.
            said: why what was asked for was not done.
        """
        config = self._context.config
        with self._context.memory() as memory:
            study = views.find_study(memory, uid)
            if study is None:
                return missing_page(leave)
            shown = Shown(
                study,
                person_of(memory, config.spool, uid),
                events_of(memory, uid),
                records_of(memory, uid),
                {one.id: found for one in study.answers if (found := self._result(memory, one)) is not None},
                deadline=study.last + config.completeness.deadline_s if study.problem else None,
            )
        if wanted := _wanting(study):
            try:
                shown = replace(shown, form=record_form(uid, entries_of(self._manifests(wanted)), typed))
            except MmcafError as refusal:
                said = said or refusal.problem
        return study_page(shown, leave=leave, said=said, status=status, still=typed is not None or said is not None)

    def take_record(self, uid: str, form: Mapping[str, str], *, leave: bool) -> Response:
        """Keep what was typed and free the answers that it is for; or show the form again with what is wrong."""
        context, now = self._context, time.time()
        with context.memory() as memory:
            study = views.find_study(memory, uid)
            if study is None:
                return missing_page(leave)
            wanted = _wanting(study)
            if not wanted:
                return self.show(uid, leave=leave, said="No answer of this study waits for a record.", status=409)
            manifests = self._manifests(wanted)
            fields, units = read_typed(form)
            document = document_of(entries_of(manifests), fields, units)
            checked = check_record(document, manifests, person_of(memory, context.config.spool, uid).header)
            author = printable(form.get(AUTHOR, "").strip(), LONGEST_AUTHOR)
            if not author:
                checked = replace(checked, fields={**checked.fields, AUTHOR: "missing: say who typed it"})
            if checked.is_refused or (checked.warnings and SURE not in form):
                typed = Typed(fields, units, author, checked)
                return self.show(uid, leave=leave, typed=typed, status=422)
            given = read_given(encoded(document), context.key)
            spool = context.config.spool
            record, _ = keep_record(memory, spool, given, source=SOURCE, author=author, study=uid, now=now)
            for one in wanted:
                if one.state != "waiting-record":
                    answers.retry(memory, one.id, now, now + AGAIN_S, record)
        return RedirectResponse(study_address(uid), 303)

    def _manifests(self, wanted: list[AnswerView]) -> list[Manifest]:
        return [bundle.manifest for bundle in self._context.bundles.some(one.bundle for one in wanted)]

    def _result(self, memory: sqlite3.Connection, answer: AnswerView) -> Mapping[str, Any] | None:
        """What was answered, as its kept JSON has it; None where it is not here."""
        file = views.object_file(memory, self._context.config.spool, answer.id, RESULT.removesuffix(".json"))
        try:
            if file is None or file.stat().st_size > MOST_RESULT_BYTES:
                return None
            found = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def _wanting(study: StudyView) -> list[AnswerView]:
    """The answers of its newest generation that a record is wanted for."""
    return [
        one
        for one in study.answers
        if one.generation == study.generation and any(action.do == "record" for action in one.actions)
    ]
